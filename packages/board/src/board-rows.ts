import { boardNames, isSynthetic, loadBoard, plicInstead } from './load-board.js';
import { SYNTHETIC_CPUS_MAX } from './profiles.js';
import { showClocks, showController, showCpus, showPower, showRange, showUart } from './show.js';

/** What every board has, as rows of a table; the first is its head. */
export function boardRows(): readonly (readonly string[])[] {
  const rows = boardNames.map((name) => {
    const board = loadBoard({ name });
    if (!board.ok) return [name, board.error];
    const { arch, cpus, ram, irqc, uarts, standby, standbyState, powerdown, powerdownState } = board.value;
    const plic = plicInstead(name);
    return [
      name,
      arch,
      isSynthetic(name) ? `1 to ${SYNTHETIC_CPUS_MAX}; 8 unless \`cpus\` says otherwise` : showCpus(cpus),
      showClocks(board.value),
      ram.map(showRange).join('; '),
      plic === undefined ? showController(irqc) : `${showController(irqc)}; or ${showController(plic)}`,
      uarts.map(showUart).join('; '),
      showPower(standby, standbyState),
      showPower(powerdown, powerdownState),
    ];
  });
  return [
    ['board', 'architecture', 'CPUs', 'clock', 'RAM', 'interrupt controller', 'UART', 'standby', 'powerdown'],
    ...rows,
  ];
}
