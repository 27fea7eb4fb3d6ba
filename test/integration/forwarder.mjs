// Carries Ethernet frames between two TAP interfaces, each after a delay, and never sooner: forwarder.mjs TAP TAP MILLISECONDS
import { openSync, read, write } from 'node:fs';
import koffi from 'koffi';

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;
const IFREQ_FLAGS = 16;
const FRAME_MAX = 65_536;

const ioctl = koffi.load('libc.so.6').func('int ioctl(int fd, unsigned long request, void *argument)');
const [, , first = '', second = '', delay = '0'] = process.argv;

const open = (name) => {
  const fd = openSync('/dev/net/tun', 'r+');
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 'latin1');
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI, IFREQ_FLAGS);
  if (ioctl(fd, TUNSETIFF, request) !== 0) throw new Error(`no TAP interface ${name}`);
  return fd;
};

const carry = (from, to) => {
  const next = () => {
    const frame = Buffer.allocUnsafe(FRAME_MAX);
    read(from, frame, 0, FRAME_MAX, null, (error, length) => {
      // An interface that is not up yet has nothing to read.
      if (error === null) {
        const due = performance.now() + Number(delay);
        // A timer counts from the last turn of the loop in whole milliseconds: it may fire too early by most of one.
        const pass = () => (performance.now() < due ? setImmediate(pass) : write(to, frame, 0, length, null, () => {}));
        setTimeout(pass, Number(delay));
      }
      if (error === null) next();
      else setTimeout(next, 10);
    });
  };
  next();
};

const a = open(first);
const b = open(second);
carry(a, b);
carry(b, a);
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
