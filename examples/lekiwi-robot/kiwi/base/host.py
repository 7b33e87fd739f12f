"""The loop: ZeroMQ in, motors, ZeroMQ out. Quick while somebody is there, sleepy otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable

import zmq

from kiwi.base.driver import Driver
from kiwi.base.motors import SimulatedMotors
from kiwi.common.messages import BadCommand, read_command

BUSY_HZ = 30
IDLE_HZ = 10


class Host:
    """Owns the motors and both sockets. Ports of 0 let the system choose; `command_port` and `observation_port` say which."""

    def __init__(self, command_port: int, observation_port: int) -> None:
        self._context = zmq.Context(io_threads=1)
        self._commands = self._context.socket(zmq.PULL)
        self._commands.setsockopt(zmq.CONFLATE, 1)  # only the newest command counts
        self.command_port = _bind(self._commands, command_port)
        self._observations = self._context.socket(zmq.PUSH)
        self._observations.setsockopt(zmq.CONFLATE, 1)
        self._observations.setsockopt(zmq.LINGER, 0)
        self.observation_port = _bind(self._observations, observation_port)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Until `stopped()`; leaves the wheels standing."""
        motors = SimulatedMotors()
        driver = Driver(motors, time.monotonic())
        listened = False
        while not stopped():
            quick = listened or driver.busy(time.monotonic())
            if self._commands.poll(1000 // (BUSY_HZ if quick else IDLE_HZ)):
                try:
                    driver.obey(read_command(self._commands.recv(zmq.NOBLOCK)), time.monotonic())
                except BadCommand as error:
                    print(f"command ignored: {error}", flush=True)
            if driver.tick(time.monotonic()):
                print("no command for 500 ms: wheels stopped", flush=True)
            listened = self._tell(driver.observation())
        motors.stop_wheels()

    def _tell(self, observation: bytes) -> bool:
        """False when nobody listens."""
        try:
            self._observations.send(observation, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        """Give both ports back."""
        self._context.destroy(linger=0)


def _bind(socket: zmq.Socket[bytes], port: int) -> int:
    socket.bind(f"tcp://*:{port or '*'}")
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(endpoint.rpartition(":")[2])
