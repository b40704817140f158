"""srkit-agree keeps srkit's contract. Run with `pytest` after `srkit plugins install -e .`."""

pytest_plugins = "srkit.testing.pytest_plugin"


def test_it_keeps_the_contract(srkit_check):
    srkit_check("command", "agree")
