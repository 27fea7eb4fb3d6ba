import { hex } from '@remio/base';
import { isSynthetic, plicInstead } from './load-board.js';
import { showClock, showController, showPower, showRange, showSize, showUart } from './show.js';
import type { BoardCpu, BoardProfile } from './types.js';

/** Everything that is known of one board, as rows of a name and a value. What is not known has no row. */
export function boardFacts(board: BoardProfile): readonly (readonly [string, string])[] {
  const { arch, ram, irqc, uarts, smmu, timer, timebaseHz } = board;
  const total = ram.reduce((sum, { size }) => sum + size, 0n);
  const plic = isSynthetic(board.name) || irqc.kind === 'plic' ? undefined : plicInstead(board.name);
  const facts: (readonly [string, string])[] = [
    ['architecture', arch],
    ...cpuGroups(board).map((text): readonly [string, string] => ['CPUs', text]),
    ...ram.map((range): readonly [string, string] => ['RAM', showRange(range)]),
    ...(ram.length > 1 ? [['RAM together', showSize(total)] as const] : []),
    ['interrupt controller', showController(irqc)],
    ...(plic === undefined ? [] : [['with irqc: plic', showController(plic)] as const]),
    ...uarts.map((uart): readonly [string, string] => ['UART', `${showUart(uart)}${uartExtras(uart)}`]),
  ];
  if (smmu !== undefined) {
    const interrupt = smmu.interrupt === undefined ? '' : `, interrupt ${smmu.interrupt}`;
    const mask = smmu.globalMask === undefined ? '' : `, stream id mask ${hex(smmu.globalMask)}`;
    facts.push(['SMMU', `${hex(smmu.base)}${interrupt}${mask}`]);
  }
  if (timer !== undefined) facts.push(['system counter', hex(timer)]);
  if (timebaseHz !== undefined) facts.push(['timebase', showClock(timebaseHz)]);
  facts.push(['standby', STANDBY[board.standby](board.standbyState)]);
  if (board.powerdown !== undefined) {
    const text = showPower(board.powerdown, board.powerdownState);
    facts.push(['powerdown', board.powerdown === 'unsupported' ? 'unsupported: a CPU stands by instead' : text]);
  }
  return facts;
}

const STANDBY = {
  psci: (state: number | undefined): string =>
    `PSCI CPU_SUSPEND${state === undefined ? '' : ` with power_state ${hex(state)}`}`,
  sbi: (): string => 'SBI hart_suspend, retentive',
  wfi: (): string => 'WFI: the firmware cannot',
} as const;

const uartExtras = ({ registerWidth, clockHz }: BoardProfile['uarts'][number]): string =>
  [
    registerWidth === undefined ? '' : `, registers ${registerWidth} bytes apart`,
    clockHz === undefined ? '' : `, ${showClock(clockHz)}`,
  ].join('');

/** CPUs with the same cluster, core and clock, with their numbers and hardware ids. */
function cpuGroups({ cpus, clockHz }: BoardProfile): readonly string[] {
  const groups = new Map<string, { readonly first: number; readonly members: BoardCpu[] }>();
  cpus.forEach((cpu, n) => {
    const key = `${cpu.cluster} ${cpu.core} ${cpu.clockHz}`;
    const group = groups.get(key) ?? { first: n, members: [] };
    group.members.push(cpu);
    groups.set(key, group);
  });
  return [...groups.values()].flatMap(({ first, members }) => {
    const [cpu] = members;
    if (cpu === undefined) return [];
    const last = first + members.length - 1;
    const numbers = members.length === 1 ? `${first}` : `${first} to ${last}`;
    const ids = [cpu, members.at(-1) ?? cpu].map(({ hardwareId }) => hex(hardwareId));
    const hz = cpu.clockHz ?? clockHz;
    return `${numbers}: ${cpu.core}, cluster ${cpu.cluster}, hardware id ${[...new Set(ids)].join(' to ')}${hz === undefined ? '' : `, ${showClock(hz)}`}`;
  });
}
