import { endTitle } from './boxes.js';
import type { Picture, PictureEnd } from './picture.js';

/** Text between quotes in a Mermaid flowchart: what has a meaning there becomes an entity. */
const quoted = (text: string): string =>
  `"${text.replaceAll('&', '#amp;').replaceAll('"', '#quot;').replaceAll('<', '#lt;').replaceAll('>', '#gt;')}"`;

const lines = (...texts: readonly string[]): string =>
  `"${texts
    .filter((text) => text !== '')
    .map((text) => quoted(text).slice(1, -1))
    .join('<br/>')}"`;

const interruptText = ({ interrupts }: PictureEnd): string =>
  interrupts.length === 0 ? '' : `irq ${interrupts.join(', ')}`;

const cpuText = (cpus: readonly { readonly cpu: number }[]): string => `CPU ${cpus.map(({ cpu }) => cpu).join(', ')}`;

/** A picture as a Mermaid flowchart, for Markdown that renders it. */
export function renderMermaid(picture: Picture): string {
  const text = ['flowchart LR'];
  for (const vm of picture.vms) {
    text.push(`  subgraph ${vm.id}[${lines(`${vm.name}: ${vm.program}`, cpuText(vm.cpus))}]`);
    for (const end of vm.ends) {
      text.push(`    ${end.id}[${lines(endTitle(end), end.detail, interruptText(end))}]:::${end.role}`);
    }
    // A subgraph without a node would not be drawn.
    if (vm.ends.length === 0) text.push(`    ${vm.id}n[${quoted('no device')}]`);
    text.push('  end');
  }
  for (const { id, name, size } of picture.memories) text.push(`  ${id}[(${lines(name, size)})]:::memory`);
  for (const { kind, end, memory, direction } of picture.links) {
    if (direction === 'to-memory') text.push(`  ${end} ${kind === 'ipc' ? '-.-' : '---'} ${memory}`);
    else text.push(`  ${memory} ${kind === 'ipc' ? '-.-' : '-->'} ${end}`);
  }
  text.push(
    '  classDef frontend fill:#ddf4ff,stroke:#54aeff,color:#1f2328',
    '  classDef backend fill:#dafbe1,stroke:#4ac26b,color:#1f2328',
    '  classDef ipc fill:#fbefff,stroke:#c297ff,color:#1f2328',
    '  classDef memory fill:#fff8c5,stroke:#d4a72c,color:#1f2328',
  );
  return `${text.join('\n')}\n`;
}
