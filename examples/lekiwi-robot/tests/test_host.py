import json
import threading

import pytest
import zmq
from kiwi.base.host import Host


def test_a_driver_over_zeromq_sees_the_base_move_and_then_stop() -> None:
    host, done = Host(0, 0), threading.Event()
    loop = threading.Thread(target=host.run, args=(done.is_set,))
    loop.start()
    context = zmq.Context()
    try:
        commands, observations = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        observations.setsockopt(zmq.RCVTIMEO, 5000)
        commands.connect(f"tcp://127.0.0.1:{host.command_port}")
        observations.connect(f"tcp://127.0.0.1:{host.observation_port}")
        commands.send(json.dumps({"y.vel": 0.1}).encode())
        moving = next(seen for _ in range(300) if (seen := json.loads(observations.recv()))["y.vel"])
        assert moving["y.vel"] == pytest.approx(0.1, abs=1e-3)
        standing = next(seen for _ in range(300) if not (seen := json.loads(observations.recv()))["y.vel"])
        assert standing["y.vel"] == 0
    finally:
        done.set()
        loop.join(timeout=5)
        context.destroy(linger=0)
        host.close()
    assert not loop.is_alive()
