"""Choosing a function by its name in a config, and reading that function's options from there.

A section of a config names one of several functions and holds the options of all of them; None
means "not given: the function's own default". What a function takes is its signature.
"""

import difflib
import inspect


def choose(table, name, *, field):
    """The entry of `table` called `name`, which the config's `field` holds.

    Raises:
        ValueError: there is no such entry; the nearest names and all names are listed.
    """
    if name not in table:
        near = difflib.get_close_matches(str(name), table, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"{field} is {name!r}, which is unknown.{hint} Known: {', '.join(table)}.")
    return table[name]


def keywords(*functions):
    """{keyword-only parameter: default} of all functions; `inspect.Parameter.empty` where none."""
    return {
        name: parameter.default
        for function in functions
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def read(config, defaults, *, every, section):
    """The options of the function that `config.name` names: {option: value}.

    Args:
        config: an object with attributes: `name` and options. None, or no such attribute: the
            option is not given.
        defaults: {option: default} of that function, as `keywords` gives them.
        every: the options of all functions of the section.
        section: the config's, for messages.

    Raises:
        ValueError: an option is given that the function does not take, or one that has no default
            is not given.
    """
    given = {option: getattr(config, option, None) for option in every}
    given = {option: value for option, value in given.items() if value is not None}
    for option, value in given.items():
        if option not in defaults:
            raise ValueError(
                f"{section}.{option} is {value!r}, but {config.name!r} has no such option: it takes"
                f" {', '.join(defaults) or 'none'}. Leave {section}.{option} None or choose"
                f" another {section}.name."
            )
    values = defaults | given
    for option, value in values.items():
        if value is inspect.Parameter.empty:
            raise ValueError(
                f"{section}.name={config.name!r} needs {section}.{option}, it is None."
            )
    return values
