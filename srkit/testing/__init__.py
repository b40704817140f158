"""The conformance kit: does a plugin keep the contract, and what to change where it does not.

In a plugin's own tests:

    pytest_plugins = "srkit.testing.pytest_plugin"

    def test_it_keeps_the_contract(srkit_check):
        srkit_check("model", "tiny")

On the command line: `srkit plugins check tiny`. Both call `check`, and so do srkit's own tests for
what ships with it.
"""

from srkit.testing.kit import Check, Finding, check, check_package

__all__ = ["Check", "Finding", "check", "check_package"]
