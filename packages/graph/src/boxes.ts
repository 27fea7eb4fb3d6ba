import type { PictureEnd, PictureMemory, PictureVm } from './picture.js';

/** A place in the picture, in pixels from its top left corner (of a part: from its box's). */
export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

/** Text in a box. */
export interface TextBox extends Box {
  readonly text: string;
}

/** An end of a VM as a row of its box. */
export interface EndBox extends Box {
  readonly end: PictureEnd;
  readonly interrupts: readonly TextBox[];
}

/** A VM's box: its title, a chip for each CPU, a row for each end. Everything in it counts from its corner. */
export interface VmBox {
  readonly vm: PictureVm;
  readonly width: number;
  readonly height: number;
  readonly cpus: readonly TextBox[];
  readonly ends: readonly EndBox[];
}

export interface MemoryBox {
  readonly memory: PictureMemory;
  readonly width: number;
  readonly height: number;
}

/** Pixels of one character: fonts of fixed width are about six tenths as wide as they are high. */
export const FONT = { size: 12, width: 7.4, titleSize: 14, titleWidth: 8.6, smallSize: 11, smallWidth: 6.8 } as const;
const PAD = 12;
const GAP = 6;
/** Lines of text: a title, a line below it. */
export const LINE = 18;
const CHIP_HEIGHT = 20;
const ROW_HEIGHT = 42;
const VM_WIDTH_MIN = 150;
/** Chips fill lines of about this width before they make the box wider. */
const CHIPS_WIDTH = 260;

const chipWidth = (text: string): number => Math.ceil(text.length * FONT.smallWidth) + 10;

/** Puts boxes side by side, in lines of at most `width`. */
function flow(texts: readonly string[], x: number, y: number, width: number): readonly TextBox[] {
  let [left, top] = [x, y];
  return texts.map((text) => {
    const box = { text, width: chipWidth(text), height: CHIP_HEIGHT };
    if (left > x && left + box.width > x + width) {
      left = x;
      top += CHIP_HEIGHT + GAP;
    }
    const placed = { ...box, x: left, y: top };
    left += box.width + GAP;
    return placed;
  });
}

const bottomOf = (boxes: readonly Box[], otherwise: number): number =>
  boxes.reduce((bottom, box) => Math.max(bottom, box.y + box.height), otherwise);

const rightOf = (boxes: readonly Box[]): number => boxes.reduce((right, box) => Math.max(right, box.x + box.width), 0);

/** What a row says of an end: its name, and the line below. */
export const endTitle = ({ name, role }: PictureEnd): string => `${name} · ${role === 'ipc' ? 'IPC' : role}`;

const interruptTexts = ({ interrupts }: PictureEnd): readonly string[] =>
  interrupts.length > 4
    ? [`irq ${interrupts[0]}…${interrupts.at(-1)}`]
    : interrupts.map((interrupt) => `irq ${interrupt}`);

/** Everything of a VM in its box. */
export function vmBox(vm: PictureVm): VmBox {
  const cpus = flow(
    vm.cpus.map(({ cpu }) => `CPU ${cpu}`),
    PAD,
    PAD + 2 * LINE,
    CHIPS_WIDTH,
  );
  const titleWidth = Math.ceil(vm.name.length * FONT.titleWidth);
  const programWidth = Math.ceil((vm.program.length + 'program '.length) * FONT.smallWidth);
  const rows = vm.ends.map((end) => {
    const chips = flow(interruptTexts(end), 0, 0, Number.POSITIVE_INFINITY);
    const text = Math.max(endTitle(end).length * FONT.width, end.detail.length * FONT.smallWidth);
    return { end, chips, text: Math.ceil(text) + 2 * GAP, chipsWidth: rightOf(chips) };
  });
  const inner = Math.max(
    VM_WIDTH_MIN - 2 * PAD,
    titleWidth,
    programWidth,
    rightOf(cpus) - PAD,
    ...rows.map((row) => row.text + GAP + row.chipsWidth + GAP),
  );
  let y = bottomOf(cpus, PAD + 2 * LINE) + GAP;
  const ends = rows.map(({ end, chips, chipsWidth }): EndBox => {
    const row = { x: PAD, y, width: inner, height: ROW_HEIGHT };
    y += ROW_HEIGHT + GAP;
    const left = row.x + row.width - GAP - chipsWidth;
    const top = row.y + (ROW_HEIGHT - CHIP_HEIGHT) / 2;
    return { ...row, end, interrupts: chips.map((chip) => ({ ...chip, x: left + chip.x, y: top })) };
  });
  return { vm, width: inner + 2 * PAD, height: bottomOf(ends, y - GAP) + PAD, cpus, ends };
}

/** A shared memory's box: its name and size. */
export const memoryBox = (memory: PictureMemory): MemoryBox => ({
  memory,
  width: 2 * PAD + Math.ceil(Math.max(memory.name.length * FONT.width, memory.size.length * FONT.smallWidth)),
  height: PAD + 2 * LINE,
});
