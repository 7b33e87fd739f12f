from lekiwi_deploy.wire.link import ServiceSwitch, SwitchKind
from lekiwi_deploy.wire.switch_words import in_words


def test_how_services_were_changed_over_is_one_line() -> None:
    switches = (
        ServiceSwitch(service="base", kind=SwitchKind.WARM, gap_ms=3.27),
        ServiceSwitch(service="job", kind=SwitchKind.COLD, gap_ms=812.4, why="too little memory"),
        ServiceSwitch(service="new", kind=SwitchKind.COLD),
        ServiceSwitch(service="web", kind=SwitchKind.BLUE_GREEN, gap_ms=0.0),
    )
    assert in_words(switches) == "base warm, 3.3 ms; job cold, 812 ms (too little memory); new cold; web blue-green"
    assert in_words(()) == ""
