"""The integer form: the ``int.*`` dialect, the pass that lowers to it, and the check that no float is left in it.

Importing the package registers the op classes and their evaluators.
"""

from edgevit.integer import evaluate as _evaluate  # noqa: F401  (registers the evaluators of the dialect)
