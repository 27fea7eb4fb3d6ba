#!/usr/bin/env python3
"""A frontend VM of Remio, written from docs/wire-protocol.md: reads three registers of a device and detaches.
It can lose its connection on the way, and prove a key.

Needs python3-zmq and python3-msgpack, with --keys python3-cryptography too. Prints one line of JSON.
"""
import argparse
import hashlib
import hmac
import json
import struct
import sys

import msgpack
import zmq

VERSION = 4
HELLO, WELCOME, REFUSED, HEARTBEAT, GOODBYE, RESUME_SESSION, RESUMED, CHALLENGE, PROOF = 1, 2, 3, 5, 6, 10, 11, 14, 15
RECORDS_MARK = 0xC1
HEADER = struct.Struct("<BIQQQ")
HEAD = struct.Struct("<BII")
TRAP_AARCH64, TRAP_RISCV64, OFF = 1, 2, 8
RESUME, CPU_ON, CPU_OFF = 32, 39, 40
# The fields that follow the head of each record that a VM's process sends or gets.
FIELDS = {
    TRAP_AARCH64: "<5Q",
    TRAP_RISCV64: "<5QIQ",
    OFF: "<",
    RESUME: "<BQQ",
    33: "<2Q",
    34: "<8Q",
    35: "<9Q",
    36: "<I",
    37: "<QQBQB",
    38: "<Q",
    CPU_ON: "<2QI",
    41: "<Q",
}
REGISTERS = {"MagicValue": 0x000, "Version": 0x004, "DeviceID": 0x008}


class Keys:
    """The keys of one VM, from a directory that `remio keys` made."""

    def __init__(self, directory, vm):
        import zmq.auth
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        from zmq.utils import z85

        self.hypervisor, _ = zmq.auth.load_certificate(f"{directory}/hypervisor.key")
        self.public, self.secret = zmq.auth.load_certificate(f"{directory}/vm-{vm}.key_secret")
        mine, theirs = z85.decode(self.secret), z85.decode(self.hypervisor)
        agreed = X25519PrivateKey.from_private_bytes(mine).exchange(X25519PublicKey.from_public_bytes(theirs))
        info = b"remio proof" + theirs + z85.decode(self.public)
        self.proof_key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(agreed)

    def proof(self, nonce, greeting):
        return hmac.digest(self.proof_key, nonce + hashlib.sha256(greeting).digest(), "sha256")


class Frontend:
    def __init__(self, endpoint, vm, keys):
        self.endpoint = endpoint
        self.vm = vm
        self.keys = keys
        self.session = self.seq = self.ack = 0
        self.token = ""
        # Frames that the hypervisor has not acknowledged, by number: they go again after a lost connection.
        self.unacknowledged = {}
        self.waiting = []
        self.connect()

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.RCVTIMEO, 10_000)
        if self.keys is not None:
            self.socket.curve_serverkey = self.keys.hypervisor
            self.socket.curve_publickey = self.keys.public
            self.socket.curve_secretkey = self.keys.secret
        self.socket.connect(self.endpoint)

    def send(self, *elements):
        self.socket.send(msgpack.packb(list(elements)))

    def greet(self, *elements):
        """Says what is said first on a connection, and proves it where that is wanted."""
        greeting = msgpack.packb(list(elements))
        self.socket.send(greeting)
        if self.keys is not None:
            (nonce,) = self.answer(CHALLENGE)
            self.send(PROOF, [[self.vm, self.keys.proof(nonce, greeting)]])

    def answer(self, expected):
        answer = msgpack.unpackb(self.socket.recv())
        if answer[0] == REFUSED:
            sys.exit(f"refused: {answer[1]}: {answer[2]}")
        assert answer[0] == expected, answer
        return answer[1:]

    def hello(self, digest):
        self.greet(HELLO, VERSION, digest, [self.vm])
        self.session, self.token, _, _, self.credit, _ = self.answer(WELCOME)

    def drop_and_resume(self):
        """Loses the connection and goes on with the session on a new one."""
        self.socket.close(linger=0)
        self.connect()
        self.greet(RESUME_SESSION, self.session, self.token, self.ack)
        session, received = self.answer(RESUMED)
        assert session == self.session
        self.acknowledged(received)
        for seq in sorted(self.unacknowledged):
            self.socket.send(self.unacknowledged[seq])

    def acknowledged(self, ack):
        assert ack <= self.seq, "what was not sent is not acknowledged"
        for seq in [seq for seq in self.unacknowledged if seq <= ack]:
            del self.unacknowledged[seq]

    def record(self, code, vm, cpu, *fields):
        self.seq += 1
        header = HEADER.pack(RECORDS_MARK, self.session, self.seq, self.ack, 0)
        frame = header + HEAD.pack(code, vm, cpu) + struct.pack(FIELDS[code], *fields)
        self.unacknowledged[self.seq] = frame
        assert len(self.unacknowledged) <= self.credit
        self.socket.send(frame)

    def take(self, frame):
        """Keeps the records of a frame."""
        _, session, seq, acked, _ = HEADER.unpack_from(frame)
        assert session == self.session and seq == self.ack + 1, "frames come in order"
        self.acknowledged(acked)
        self.ack = seq
        at = HEADER.size
        while at < len(frame):
            code, vm, cpu = HEAD.unpack_from(frame, at)
            at += HEAD.size
            if code == CPU_OFF:
                (length,) = struct.unpack_from("<I", frame, at)
                at += 4 + length
                continue
            self.waiting.append((code, vm, cpu, *struct.unpack_from(FIELDS[code], frame, at)))
            at += struct.calcsize(FIELDS[code])

    def wait_for(self, code):
        """What follows the code in the next record of this code."""
        while True:
            while self.waiting:
                record = self.waiting.pop(0)
                if record[0] == code:
                    return record[1:]
            frame = self.socket.recv()
            if frame[0] == RECORDS_MARK:
                self.take(frame)
                continue
            message = msgpack.unpackb(frame)
            if message[0] == REFUSED:
                sys.exit(f"cut off: {message[2]}")
            if message[0] == HEARTBEAT:
                self.acknowledged(message[2])

    def load32(self, arch, vm, cpu, address, pc, drop):
        if arch == "aarch64":
            self.record(TRAP_AARCH64, vm, cpu, 0x93890007, address, (address >> 12) << 4, pc, 0)
        else:
            self.record(TRAP_RISCV64, vm, cpu, 21, address, address >> 2, 0x6483, pc, 0, 0)
        if drop:
            self.drop_and_resume()
        _, _, register, value, next_pc = self.wait_for(RESUME)
        assert register == 9 and next_pc == pc + 4, (register, next_pc)
        return value


def main():
    parser = argparse.ArgumentParser()
    for name in ("--connect", "--digest", "--vm", "--arch"):
        parser.add_argument(name, required=True)
    parser.add_argument("--window", required=True, type=lambda text: int(text, 0))
    parser.add_argument("--drop", action="store_true", help="lose the connection after each trap, and resume")
    parser.add_argument("--keys", help="directory of hypervisor.key and the VM's key_secret")
    args = parser.parse_args()
    keys = None if args.keys is None else Keys(args.keys, args.vm)
    frontend = Frontend(args.connect, args.vm, keys)
    frontend.hello(args.digest)
    vm, cpu, pc, _, _ = frontend.wait_for(CPU_ON)
    values = {}
    for name, offset in REGISTERS.items():
        values[name] = frontend.load32(args.arch, vm, cpu, args.window + offset, pc, args.drop)
        pc += 4
    frontend.record(OFF, vm, cpu)
    frontend.send(GOODBYE, frontend.session, "done")
    print(json.dumps(values))


main()
