"""What the scripts share: flags, overrides of the config, and errors as messages."""

import contextlib
import os
import sys

from absl import app, flags, logging


def run(main, description, *, required):
    """Runs a script: `main({field: text})` with what `--config.FIELD=VALUE` gave.

    Exit status: 0; 2 after bad input, with its message alone; 1 after a run that could not go on.

    Args:
        main: function of the overrides.
        description: what --help says above the flags.
        required: names of the flags that must be given.
    """
    overrides = {}
    arguments = [sys.argv[0]]
    for argument in sys.argv[1:]:
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name.startswith("config."):
            if not equals:
                _end(f"{argument}: write --{name}=VALUE.", 2)
            overrides[name.removeprefix("config.")] = value
        else:
            arguments.append(argument)
    if {"--help", "-h", "-help"} & set(arguments):
        own = flags.FLAGS.module_help(sys.modules["__main__"]).split("\n", 2)[2]  # without a title
        print(f"{description.strip()}\n\nFlags:\n{own}")
        return

    # orbax tells of every file, and of a save that fails by pages; the run says it in a line.
    logging.set_verbosity(logging.FATAL)
    sys.unraisablehook = _unraisable

    def parse(argv):
        try:
            rest = flags.FLAGS(argv)[1:]
        except flags.Error as error:
            _end(f"{error} See --help.", 2)
        if rest:
            _end(f"Unexpected {' '.join(rest)!r}: every argument is a --flag=value. See --help.", 2)
        missing = [f"--{name}" for name in required if not flags.FLAGS[name].value]
        if missing:
            _end(f"{' and '.join(missing)} must be given. See --help.", 2)
        for flag in flags.FLAGS.get_key_flags_for_module(sys.modules["__main__"]):
            flag.value = _expanded(flag.value)
        return argv

    flags.FLAGS.set_gnu_getopt()  # flags behind a stray argument are still read
    app.run(lambda _: _guarded(main, overrides), argv=arguments, flags_parser=parse)


@contextlib.contextmanager
def door():
    """Where a script looks at its input: what is found wrong there ends it with its message."""
    try:
        yield
    except (ValueError, OSError) as error:
        _end(error, 2)


def _expanded(value):
    """A text with the user's home for a ~ in front, which shells leave there behind a "="."""
    if isinstance(value, list):
        return [_expanded(item) for item in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _guarded(main, overrides):
    from jaxcv import train
    from jaxcv.data import images

    try:
        main(overrides)
    except train.FolderRefused as error:
        _end(error, 2)
    except (train.NotFinite, images.Unreadable, OSError) as error:
        _end(error, 1)
    except KeyboardInterrupt:
        _end("Interrupted.", 130)


def _unraisable(problem):
    # After one array of a checkpoint could not be written, orbax closes the event loop in which it
    # waits for the others, and tensorstore tells of each that it could not report there.
    if str(problem.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(problem)


def _end(message, status):
    print(message, file=sys.stderr, flush=True)
    sys.exit(status)
