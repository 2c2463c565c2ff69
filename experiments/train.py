"""Trains what a config describes, or goes on with it.

    python -m experiments.train --config=configs/classification/lenet_mnist.py --workdir=runs/lenet

A config answers to ":smoke" behind its path: the same on embedded data, in a minute or two on a
laptop. Any field can be given as --config.FIELD=VALUE (--config.seed=1 --config.schedule.lr=0.05);
configs/base.py has them all, with what they do.

The folder gets config.json, metrics.jsonl, TensorBoard's events, pictures/, checkpoints/ and, at
the end, result.json. The same command on the same folder goes on where it was stopped, exactly.
SIGTERM stops it with a checkpoint.

Several hosts: start the same command on each, with --coordinator=auto under SLURM, or with
--coordinator=HOST:PORT --processes=N --process=I.
"""

from absl import flags

from experiments import cli, load_config

_CONFIG = flags.DEFINE_string("config", None, "Config file, then perhaps :VARIANT.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder, made if absent.")
_COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of the first process, or auto.")
_PROCESSES = flags.DEFINE_integer("processes", 1, "How many processes the run has.")
_PROCESS = flags.DEFINE_integer("process", 0, "Which of them this is, from 0.")


def main(overrides):
    with cli.door():
        config = load_config(_CONFIG.value, **overrides)

    import jax

    from experiments import parts
    from jaxcv import train

    with cli.door():
        if _COORDINATOR.value or (_PROCESSES.value, _PROCESS.value) != (1, 0):
            train.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        train.setup(compilation_cache=config.compilation_cache, debug=config.debug)
        task, batches, variables = parts.prepare(config, _WORKDIR.value)
    result = train.loop(task, batches, config, _WORKDIR.value, variables)
    if result is not None and jax.process_index() == 0:
        parts.draw_curves(_WORKDIR.value)
        print(f"\n{parts.show(result['metrics'])}")
        print(f"pictures: {_WORKDIR.value}/pictures   all of it: {_WORKDIR.value}/result.json")


if __name__ == "__main__":
    cli.run(main, __doc__, required=("config", "workdir"))
