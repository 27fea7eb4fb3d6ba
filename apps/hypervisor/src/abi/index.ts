export * from './decode-error.js';
export * from './hypercall.js';
export * from './riscv64/compressed.js';
export { decodeLoadStore, type LoadStore } from './riscv64/guest-page-fault.js';
export * from './trap.js';
