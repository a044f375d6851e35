"""Fewer resamples than reports use: these tests ask what is said, and the statistics have tests of their own."""

import pytest

MODULES = (
    "analyses.findings.contrast",
    "analyses.findings.covariates",
    "analyses.findings.trend",
    "analyses.data.pinning",
    "analyses.questions.architecture",
    "analyses.questions.covariates",
    "analyses.questions.domains",
    "analyses.questions.measured_familiarity",
    "analyses.questions.mechanisms.localization",
    "analyses.questions.measures",
    "analyses.questions.mechanisms.mechanism",
    "analyses.questions.probes",
    "analyses.questions.mechanisms.readout",
    "analyses.questions.tokens",
)


@pytest.fixture(scope="session", autouse=True)
def fewer_resamples():
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setattr(f"{module}.RESAMPLES", 200)
        patch.setattr("analyses.findings.panel.FAMILY_PERMUTATIONS", 199)
        patch.setattr("analyses.questions.covariates.PERMUTATIONS", 199)
        yield
