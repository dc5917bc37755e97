# Predictions on the benchmark and their accuracy, by system; accuracy of the auxiliary networks.


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


# On synthetic photographs of people whom no network has seen.
rule evaluate_networks:
    input:
        photographs=PLAN.folders("held_out"),
        weights=weights(*PLAN.all_network_weights().values()),
    output:
        table="results/networks.csv",
        sheet=report(
            "results/figures/synthetic_photographs.png", caption="../report/network_sheet.rst", category="Networks"
        ),
    log:
        "logs/networks.log",
    threads: 2
    resources:
        mem_mb=4000,
    params:
        options=weights_options(PLAN.all_network_weights()),
        weights=weights_id(*PLAN.all_network_weights().values()),
        limit=SETTINGS.evaluation.network_photographs,
        fingerprint=stage_fingerprint("evaluate.networks"),
    shell:
        "python -m facerecon evaluate networks {input.photographs:q} --limit {params.limit} {params.options}"
        " --out {output.table} --sheet {output.sheet} 2>&1 | tee {log}"


# Sets of real photographs in the user's hands -> the command that measures on them.
REAL_PHOTOGRAPHS = {"aflw2000": "aflw2000", "portraits": "detection"}


# Their folders count by path alone.
rule evaluate_real_photographs:
    input:
        weights=weights(*PLAN.sheet_weights().values()),
    output:
        figures="results/{real}.txt",
        sheet=report("results/figures/{real}.png", caption="../report/network_sheet.rst", category="Networks"),
    log:
        "logs/{real}.log",
    wildcard_constraints:
        real="|".join(REAL_PHOTOGRAPHS),
    threads: 2
    resources:
        mem_mb=2000,
    params:
        command=lambda wildcards: REAL_PHOTOGRAPHS[wildcards.real],
        folder=lambda wildcards: real_photographs(wildcards.real),
        options=weights_options(PLAN.sheet_weights()),
        weights=weights_id(*PLAN.sheet_weights().values()),
        fingerprint=lambda wildcards: stage_fingerprint(f"evaluate.{REAL_PHOTOGRAPHS[wildcards.real]}"),
    shell:
        "(python -m facerecon evaluate {params.command} {params.folder:q} {params.options} --sheet {output.sheet}"
        " | tee {output.figures}) 2>&1 | tee {log}"
