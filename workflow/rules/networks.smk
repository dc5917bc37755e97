# Auxiliary networks, for those that the settings say to train. A killed job resumes from its checkpoint in `work`.


rule train_network:
    input:
        photographs=PLAN.folders("networks"),
        weights=lambda wildcards: weights(*PLAN.training_weights(wildcards.network)),
    output:
        weights="results/networks/{network}/model.safetensors",
        card="results/networks/{network}/model.json",
        metrics="results/networks/{network}/metrics.csv",
    log:
        "logs/networks/{network}.log",
    threads: lambda wildcards: PLAN.training_threads(wildcards.network)
    resources:
        mem_mb=4000,
        gpu=lambda wildcards: PLAN.training_gpus(wildcards.network),
    params:
        settings=lambda wildcards: PLAN.training_settings(wildcards.network),
        weights=lambda wildcards: weights_id(*PLAN.training_weights(wildcards.network)),
        fingerprint=lambda wildcards: stage_fingerprint(f"training.{wildcards.network}"),
        free=uncounted(lambda wildcards: PLAN.free_training_options(wildcards.network)),
        data=lambda wildcards, input: repeated("--data", input.photographs),
        work=lambda wildcards: work_folder("networks", wildcards.network),
    shell:
        "(python -m facerecon train {wildcards.network} --settings {params.settings:q} {params.free}"
        " {params.data} --out {params.work}"
        " && cp {params.work}/model.safetensors {params.work}/model.json {params.work}/metrics.csv"
        " $(dirname {output.weights})) 2>&1 | tee {log}"
