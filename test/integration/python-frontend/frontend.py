#!/usr/bin/env python3
"""A frontend VM of Remio, written from docs/wire-protocol.md: reads three registers of a device and detaches.

Needs python3-zmq and python3-msgpack. Prints one line of JSON.
"""
import argparse
import json
import sys

import msgpack
import zmq

VERSION = 1
HELLO, WELCOME, REFUSED, RECORDS, HEARTBEAT, GOODBYE = 1, 2, 3, 4, 5, 6
TRAP_AARCH64, TRAP_RISCV64, OFF = 1, 2, 8
RESUME, CPU_ON = 32, 39
# How many fields follow each code that the hypervisor sends.
FIELDS = {32: 5, 33: 4, 34: 10, 35: 11, 36: 3, 37: 7, 38: 3, 39: 4, 40: 3, 41: 3}
REGISTERS = {"MagicValue": 0x000, "Version": 0x004, "DeviceID": 0x008}


class Frontend:
    def __init__(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.RCVTIMEO, 10_000)
        self.socket.connect(endpoint)
        self.session = self.seq = self.ack = 0
        self.waiting = []

    def send(self, *elements):
        self.socket.send(msgpack.packb(list(elements)))

    def receive(self):
        return msgpack.unpackb(self.socket.recv())

    def hello(self, digest, vm):
        self.send(HELLO, VERSION, digest, [vm])
        answer = self.receive()
        if answer[0] == REFUSED:
            sys.exit(f"refused: {answer[1]}: {answer[2]}")
        assert answer[0] == WELCOME, answer
        self.session = answer[1]

    def records(self, *fields):
        self.seq += 1
        self.send(RECORDS, self.session, self.seq, self.ack, 0, *fields)

    def wait_for(self, code):
        """The fields of the next record of this code."""
        while True:
            while self.waiting:
                record = self.waiting.pop(0)
                if record[0] == code:
                    return record[1:]
            frame = self.receive()
            if frame[0] == REFUSED:
                sys.exit(f"cut off: {frame[2]}")
            if frame[0] != RECORDS:
                continue
            assert frame[2] == self.ack + 1, "frames come in order"
            self.ack = frame[2]
            at = 5
            while at < len(frame):
                end = at + 1 + FIELDS[frame[at]]
                self.waiting.append(frame[at:end])
                at = end

    def load32(self, arch, vm, cpu, address, pc):
        if arch == "aarch64":
            self.records(TRAP_AARCH64, vm, cpu, 0x93890007, address, (address >> 12) << 4, pc, 0)
        else:
            self.records(TRAP_RISCV64, vm, cpu, 21, address, address >> 2, 0x6483, pc, 0, 0)
        _, _, register, value, next_pc = self.wait_for(RESUME)
        assert register == 9 and next_pc == pc + 4, (register, next_pc)
        return value


def main():
    parser = argparse.ArgumentParser()
    for name in ("--connect", "--digest", "--vm", "--arch"):
        parser.add_argument(name, required=True)
    parser.add_argument("--window", required=True, type=lambda text: int(text, 0))
    args = parser.parse_args()
    frontend = Frontend(args.connect)
    frontend.hello(args.digest, args.vm)
    vm, cpu, pc, _ = frontend.wait_for(CPU_ON)
    values = {}
    for name, offset in REGISTERS.items():
        values[name] = frontend.load32(args.arch, vm, cpu, args.window + offset, pc)
        pc += 4
    frontend.records(OFF, vm, cpu)
    frontend.send(GOODBYE, frontend.session, "done")
    print(json.dumps(values))


main()
