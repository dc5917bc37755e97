# Predictions on the benchmark and their accuracy, by system.


rule predict:
    input:
        benchmark=ancient("results/benchmarks/now_open"),
        content_hash="results/benchmarks/now_open.sha256",
        weights=lambda wildcards: weights(*PLAN.system_weights(wildcards.system).values()),
        face_model=FACE_MODEL,
    output:
        directory("results/predictions/{system}"),
    log:
        "logs/predictions/{system}.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        predictor=lambda wildcards: PLAN.predictor(wildcards.system),
        options=lambda wildcards: weights_options(PLAN.system_weights(wildcards.system)),
        weights=lambda wildcards: weights_id(*PLAN.system_weights(wildcards.system).values(), *PLAN.face_model_files),
        face_model=uncounted(face_model_option),
        fingerprint=lambda wildcards: stage_fingerprint(f"predict.{PLAN.predictor(wildcards.system)}"),
    shell:
        "python -m facerecon predict now --system {params.predictor} {params.options} {params.face_model}"
        " --benchmark {input.benchmark} --out {output} 2>&1 | tee {log}"


# One process of one thread for each core.
rule evaluate_now:
    input:
        benchmark=ancient("results/benchmarks/now_open"),
        content_hash="results/benchmarks/now_open.sha256",
        predictions="results/predictions/{system}",
    output:
        "results/evaluations/{system}.csv",
    log:
        "logs/evaluations/{system}.log",
    threads: 2
    resources:
        mem_mb=1500,
    params:
        protocol=SETTINGS.evaluation.protocol,
        fingerprint=stage_fingerprint("evaluate.now"),
    shell:
        "export OMP_NUM_THREADS=1;"
        " python -m facerecon evaluate now --benchmark {input.benchmark} --predictions {input.predictions}"
        " --system {wildcards.system} --protocol {params.protocol} --jobs {threads} --out {output} 2>&1 | tee {log}"
