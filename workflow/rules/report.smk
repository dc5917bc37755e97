# Tables and figures.


# The table comes with the curve of the training that its last row reports.
rule now_eval:
    input:
        evaluations=[f"results/evaluations/{system}.csv" for system in PLAN.systems],
        curve=TRAINING_CURVES,
    output:
        "results/now_eval.csv",
    log:
        "logs/now_eval.log",
    threads: 1
    resources:
        mem_mb=500,
    params:
        evaluations=lambda wildcards, input: repeated("--evaluations", input.evaluations),
        fingerprint=stage_fingerprint("report.now"),
    shell:
        "python -m facerecon report now {params.evaluations} --out {output} 2>&1 | tee {log}"


rule training_curve:
    input:
        "results/training/amplitude_phase/metrics.csv",
    output:
        report("results/figures/training_curve.png", caption="../report/training_curve.rst", category="Training"),
    log:
        "logs/figures/training_curve.log",
    threads: 1
    resources:
        mem_mb=500,
    params:
        fingerprint=stage_fingerprint("report.training_curve"),
    shell:
        "python -m facerecon report training-curve {input} --out {output} 2>&1 | tee {log}"
