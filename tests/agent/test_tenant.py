"""A tenant on a machine, over TCP, from the first login to the last."""

from tests.agent.conftest import ANA, BERT, Carl, refused, run


async def test_ana_logs_in_writes_a_file_and_after_her_lease_the_same_key_is_refused_and_the_file_is_gone(
    carl: Carl,
) -> None:
    carl.lease("1", lasts_s=600)
    carl.start()
    report = await carl.reported("1", "open")
    assert await run(report, ANA, "echo weights >model.bin && cat model.bin") == "weights\n"
    assert (carl.tenant_home("1") / "model.bin").read_text() == "weights\n"
    assert await refused(report, BERT) == "PermissionDenied"

    carl.lease("1", lasts_s=0.5)

    await carl.reported("1", "closed")
    assert await refused(report, ANA) == "ConnectionRefusedError"
    assert not (carl.home / "leases" / "1").exists()
