# From photographs to results/now_eval.csv. Rules are in workflow/rules, settings in config.yaml (docs/settings.md).

from pathlib import Path


# Found beside this file, wherever snakemake works (--directory).
configfile: str(Path(workflow.basedir) / "config.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "results/now_eval.csv",
        TRAINING_CURVES,
