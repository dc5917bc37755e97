# Training of the reconstruction systems. A killed job resumes from its checkpoint in `work`.


rule train_system:
    input:
        shards=PLAN.training_shards(),
        weights=lambda wildcards: weights(*PLAN.training_weights(wildcards.system)),
        face_model=FACE_MODEL,
    output:
        weights="results/training/{system}/model.safetensors",
        card="results/training/{system}/model.json",
        metrics="results/training/{system}/metrics.csv",
    log:
        "logs/training/{system}.log",
    threads: lambda wildcards: PLAN.training_threads(wildcards.system)
    resources:
        mem_mb=4000,
        gpu=lambda wildcards: PLAN.training_gpus(wildcards.system),
    params:
        settings=lambda wildcards: PLAN.training_settings(wildcards.system),
        weights=lambda wildcards: weights_id(*PLAN.training_weights(wildcards.system), *PLAN.face_model_files),
        face_model=uncounted(face_model_option),
        fingerprint=lambda wildcards: stage_fingerprint(f"training.{wildcards.system}"),
        free=uncounted(lambda wildcards: PLAN.free_training_options(wildcards.system)),
        data=lambda wildcards, input: repeated("--data", input.shards),
        work=lambda wildcards: work_folder("training", wildcards.system),
    shell:
        "(python -m facerecon train {wildcards.system} --settings {params.settings:q} {params.free}"
        " {params.face_model} {params.data} --out {params.work}"
        " && cp {params.work}/model.safetensors {params.work}/model.json {params.work}/metrics.csv"
        " $(dirname {output.weights})) 2>&1 | tee {log}"
