export * from './aarch64.js';
export * from './bao.js';
export * from './hypercall.js';
export * from './interrupt-controller.js';
export * from './riscv64.js';
export * from './traps.js';
