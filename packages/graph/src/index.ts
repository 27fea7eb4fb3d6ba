export type { Box, EndBox, MemoryBox, Point, TextBox, VmBox } from './boxes.js';
export { type Layout, layOut, type Placed, type PlacedLink } from './layout.js';
export { renderMermaid } from './mermaid.js';
export * from './picture.js';
export { renderSvg } from './svg.js';
