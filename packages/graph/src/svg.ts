import { type Box, endTitle, FONT, LINE, type TextBox } from './boxes.js';
import type { Layout, PlacedLink } from './layout.js';

const PAD = 12;
/** Room above the drawing for title and subtitle, and below it for the legend. */
const HEAD = 52;
const FOOT = 34;
const LEGEND = 'arrow: a frontend\u2019s device, from driver to device model; dashed: IPC; irq: raised in that VM';

const STYLE = `text{font:${FONT.size}px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1f2328}
.title{font-size:${FONT.titleSize}px;font-weight:600}.small{font-size:${FONT.smallSize}px;fill:#57606a}
.vm{fill:#f6f8fa;stroke:#8c959f}.frontend{fill:#ddf4ff;stroke:#54aeff}.backend{fill:#dafbe1;stroke:#4ac26b}
.ipc{fill:#fbefff;stroke:#c297ff}.memory{fill:#fff8c5;stroke:#d4a72c}.cpu,.irq{fill:#fff;stroke:#afb8c1}
.link{fill:none;stroke:#57606a;stroke-width:1.5}.dashed{stroke-dasharray:6 4}`;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const rect = ({ x, y, width, height }: Box, kind: string, radius: number): string =>
  `<rect class="${kind}" x="${x}" y="${y}" width="${width}" height="${height}" rx="${radius}"/>`;

const text = (x: number, y: number, kind: string, content: string): string =>
  `<text${kind === '' ? '' : ` class="${kind}"`} x="${x}" y="${y}">${escaped(content)}</text>`;

const chip = (box: TextBox, kind: string): readonly string[] => [
  rect(box, kind, 4),
  text(box.x + 5, box.y + 14, 'small', box.text),
];

const path = ({ link, points }: PlacedLink): string => {
  const way = points.map(({ x, y }, n) => `${n === 0 ? 'M' : 'L'}${x} ${y}`).join('');
  const kind = link.kind === 'ipc' ? 'link dashed' : 'link';
  const arrow = link.kind === 'remio' && link.direction === 'from-memory' ? ' marker-end="url(#arrow)"' : '';
  return `<path class="${kind}" d="${way}"${arrow}/>`;
};

/** A layout as an SVG document: the same layout gives the same bytes. */
export function renderSvg({ picture, width, height, vms, memories, links }: Layout): string {
  const whole = Math.max(
    width,
    2 * PAD + Math.ceil(LEGEND.length * FONT.smallWidth),
    2 * PAD + Math.ceil(picture.title.length * FONT.titleWidth),
    2 * PAD + Math.ceil(picture.subtitle.length * FONT.smallWidth),
  );
  const total = HEAD + height + FOOT;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${whole}" height="${total}" viewBox="0 0 ${whole} ${total}" role="img">`,
    `<title>${escaped(`${picture.title}: ${picture.subtitle}`)}</title>`,
    `<style>${STYLE}</style>`,
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">' +
      '<path d="M0 0L8 4L0 8z" fill="#57606a"/></marker></defs>',
    `<rect width="${whole}" height="${total}" fill="#fff"/>`,
    text(PAD, 24, 'title', picture.title),
    text(PAD, 42, 'small', picture.subtitle),
    `<g transform="translate(0 ${HEAD})">`,
  ];
  for (const box of vms) {
    const { x, y, vm, cpus, ends } = box;
    lines.push(`<g transform="translate(${x} ${y})">`, rect({ ...box, x: 0, y: 0 }, 'vm', 8));
    lines.push(
      text(PAD, PAD + LINE - 4, 'title', vm.name),
      text(PAD, PAD + 2 * LINE - 6, 'small', `program ${vm.program}`),
    );
    for (const cpu of cpus) lines.push(...chip(cpu, 'cpu'));
    for (const row of ends) {
      lines.push(rect(row, row.end.role, 4));
      lines.push(
        text(row.x + 6, row.y + 17, '', endTitle(row.end)),
        text(row.x + 6, row.y + 34, 'small', row.end.detail),
      );
      for (const interrupt of row.interrupts) lines.push(...chip(interrupt, 'irq'));
    }
    lines.push('</g>');
  }
  for (const box of memories) {
    lines.push(rect(box, 'memory', 4));
    lines.push(text(box.x + PAD, box.y + LINE + 2, '', box.memory.name));
    lines.push(text(box.x + PAD, box.y + 2 * LINE + 2, 'small', box.memory.size));
  }
  lines.push(...links.map(path), '</g>', text(PAD, total - 14, 'small', LEGEND), '</svg>');
  return `${lines.join('\n')}\n`;
}
