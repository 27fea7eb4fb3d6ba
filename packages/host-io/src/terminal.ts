import koffi from 'koffi';

/** Requests of ioctl_tty(2) on Linux. */
const TIOCGWINSZ = 0x5413;
const TIOCSWINSZ = 0x5414;
const TIOCSPTLCK = 0x4004_5431;
const TIOCGPTN = 0x8004_5430;
const TCSANOW = 0;

/** Bytes of `struct termios` of any Linux, rounded up. */
const TERMIOS_SIZE = 128;
/** Bytes of `struct winsize`: rows, columns, and two sizes in pixels, 16 bits each. */
const WINSIZE_SIZE = 8;

/** What is used of the C library for terminals. */
interface TerminalCalls {
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  tcgetattr(fd: number, termios: Uint8Array): number;
  cfmakeraw(termios: Uint8Array): void;
  tcsetattr(fd: number, actions: number, termios: Uint8Array): number;
}

let loaded: TerminalCalls | undefined;

/** Loaded on first use: who needs no terminal needs no glibc. */
function calls(): TerminalCalls {
  if (loaded === undefined) {
    const library = koffi.load('libc.so.6');
    loaded = {
      ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)') as TerminalCalls['ioctl'],
      tcgetattr: library.func('int tcgetattr(int fd, void *termios)') as TerminalCalls['tcgetattr'],
      cfmakeraw: library.func('void cfmakeraw(void *termios)') as TerminalCalls['cfmakeraw'],
      tcsetattr: library.func('int tcsetattr(int fd, int actions, void *termios)') as TerminalCalls['tcsetattr'],
    };
  }
  return loaded;
}

/** A terminal's size, characters. */
export interface TerminalSize {
  readonly cols: number;
  readonly rows: number;
}

/**
 * Unlocks the terminal of a pseudo-terminal's master.
 * @returns its number, N in /dev/pts/N; undefined if it is no master
 */
export function unlockTerminal(master: number): number | undefined {
  const number = new Uint8Array(4);
  const { ioctl } = calls();
  if (ioctl(master, TIOCSPTLCK, new Uint8Array(4)) !== 0 || ioctl(master, TIOCGPTN, number) !== 0) return undefined;
  return new DataView(number.buffer).getUint32(0, true);
}

/** Lets every byte through as it is: no echo, no lines, no signals. */
export function makeRaw(terminal: number): boolean {
  const termios = new Uint8Array(TERMIOS_SIZE);
  const { tcgetattr, cfmakeraw, tcsetattr } = calls();
  if (tcgetattr(terminal, termios) !== 0) return false;
  cfmakeraw(termios);
  return tcsetattr(terminal, TCSANOW, termios) === 0;
}

/** The size that a terminal, or its master, has; undefined if it is none. */
export function sizeOf(terminal: number): TerminalSize | undefined {
  const winsize = new Uint8Array(WINSIZE_SIZE);
  if (calls().ioctl(terminal, TIOCGWINSZ, winsize) !== 0) return undefined;
  const view = new DataView(winsize.buffer);
  return { rows: view.getUint16(0, true), cols: view.getUint16(2, true) };
}

/** Sets the size of a terminal. */
export function setSize(terminal: number, { cols, rows }: TerminalSize): boolean {
  const winsize = new Uint8Array(WINSIZE_SIZE);
  const view = new DataView(winsize.buffer);
  view.setUint16(0, rows, true);
  view.setUint16(2, cols, true);
  return calls().ioctl(terminal, TIOCSWINSZ, winsize) === 0;
}
