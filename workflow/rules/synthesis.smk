# Synthetic photographs to train on, and the open benchmark.


rule synthesize_photographs:
    output:
        directory("results/photographs/{photographs}/{folder}"),
    log:
        "logs/photographs/{photographs}/{folder}.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        options=lambda wildcards: PLAN.synthesis_options(wildcards.photographs, int(wildcards.folder)),
        fingerprint=stage_fingerprint("synthesis.photographs"),
    shell:
        "python -m facerecon data synthesize --out {output} {params.options} 2>&1 | tee {log}"


# The hash, a small file, is compared by content: the same benchmark made again reruns nothing.
rule now_benchmark:
    output:
        folder=directory("results/benchmarks/now_open"),
        content_hash="results/benchmarks/now_open.sha256",
    log:
        "logs/benchmarks/now_open.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        options=PLAN.benchmark_options(),
        fingerprint=stage_fingerprint("synthesis.now_benchmark"),
    shell:
        "(python -m facerecon data benchmark --out {output.folder} {params.options}"
        " && cp {output.folder}/content_hash.txt {output.content_hash}) 2>&1 | tee {log}"
