# From a dataset's photographs to shards to train from: one job a stage and shard.


rule manifest:
    input:
        folders=lambda wildcards: PLAN.dataset_folders(wildcards.dataset),
    output:
        "results/datasets/{dataset}/manifest.csv",
    log:
        "logs/datasets/{dataset}/manifest.log",
    threads: 1
    resources:
        mem_mb=500,
    params:
        adapter=lambda wildcards: PLAN.dataset_adapter(wildcards.dataset),
        listing=lambda wildcards: PLAN.listing(wildcards.dataset),
        fingerprint=stage_fingerprint("data.manifest"),
    shell:
        "python -m facerecon data manifest --adapter {params.adapter} --name {wildcards.dataset} --out {output}"
        " {input.folders:q} 2>&1 | tee {log}"


# The photographs count as well as the manifest, whose content stays the same when they are rendered anew.
rule landmarks:
    input:
        folders=lambda wildcards: PLAN.dataset_folders(wildcards.dataset),
        manifest="results/datasets/{dataset}/manifest.csv",
        detector=weights(PLAN.network_weights("detector")),
        landmarks=weights(PLAN.network_weights("landmarks")),
        face_model=FACE_MODEL,
    output:
        "results/datasets/{dataset}/shards/{shard}/landmarks.h5",
    log:
        "logs/datasets/{dataset}/shards/{shard}/landmarks.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        shard_size=lambda wildcards: PLAN.shard_size(wildcards.dataset),
        rejected=uncounted(rejection_option),
        weights=weights_id(PLAN.network_weights("detector"), PLAN.network_weights("landmarks"), *PLAN.face_model_files),
        face_model=uncounted(face_model_option),
        fingerprint=stage_fingerprint("preprocess.landmarks"),
    shell:
        "python -m facerecon preprocess landmarks --manifest {input.manifest} --shard {wildcards.shard}"
        " --shard-size {params.shard_size} --detector {input.detector:q} --landmark-network {input.landmarks:q}"
        " {params.face_model} {params.rejected} --out {output} 2>&1 | tee {log}"


rule masks:
    input:
        manifest="results/datasets/{dataset}/manifest.csv",
        landmarks="results/datasets/{dataset}/shards/{shard}/landmarks.h5",
        parsing=weights(PLAN.network_weights("parsing")),
        face_model=FACE_MODEL,
    output:
        "results/datasets/{dataset}/shards/{shard}/masks.h5",
    log:
        "logs/datasets/{dataset}/shards/{shard}/masks.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        rejected=uncounted(rejection_option),
        weights=weights_id(PLAN.network_weights("parsing"), *PLAN.face_model_files),
        face_model=uncounted(face_model_option),
        fingerprint=stage_fingerprint("preprocess.parsing"),
    shell:
        "python -m facerecon preprocess parsing --manifest {input.manifest} --landmarks {input.landmarks}"
        " --parsing-network {input.parsing:q} {params.face_model} {params.rejected} --out {output} 2>&1 | tee {log}"


rule fit:
    input:
        landmarks="results/datasets/{dataset}/shards/{shard}/landmarks.h5",
        face_model=FACE_MODEL,
    output:
        "results/datasets/{dataset}/shards/{shard}/fit.h5",
    log:
        "logs/datasets/{dataset}/shards/{shard}/fit.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        rejected=uncounted(rejection_option),
        weights=weights_id(*PLAN.face_model_files),
        face_model=uncounted(face_model_option),
        fingerprint=stage_fingerprint("preprocess.fit"),
    shell:
        "python -m facerecon preprocess fit --landmarks {input.landmarks} {params.face_model} {params.rejected}"
        " --out {output} 2>&1 | tee {log}"


rule shard:
    input:
        manifest="results/datasets/{dataset}/manifest.csv",
        landmarks="results/datasets/{dataset}/shards/{shard}/landmarks.h5",
        masks="results/datasets/{dataset}/shards/{shard}/masks.h5",
        fit="results/datasets/{dataset}/shards/{shard}/fit.h5",
        recognition=weights(PLAN.network_weights("recognition")),
    output:
        "results/datasets/{dataset}/shards/{shard}/shard.h5",
    log:
        "logs/datasets/{dataset}/shards/{shard}/shard.log",
    threads: 1
    resources:
        mem_mb=1500,
    params:
        rejected=uncounted(rejection_option),
        weights=weights_id(PLAN.network_weights("recognition")),
        fingerprint=stage_fingerprint("preprocess.shard"),
    shell:
        "python -m facerecon preprocess shard --manifest {input.manifest} --landmarks {input.landmarks}"
        " --masks {input.masks} --fit {input.fit} --recognition-network {input.recognition:q}"
        " {params.rejected} --out {output} 2>&1 | tee {log}"
