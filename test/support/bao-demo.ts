/**
 * The public virtio demo of Bao, and older tutorials on it, by their values: written down here as configurations in C of
 * our own. A backend VM serves a console to FreeRTOS, and a network and a block device to each of two Linux guests.
 */

/** What differs from board to board. */
interface DemoBoard {
  readonly riscv?: true;
  readonly backend: {
    readonly ram: string;
    readonly image?: string;
    readonly devs: readonly string[];
    readonly irqchip: string;
  };
  readonly freertos: { readonly uart: string; readonly irqchip: string };
  readonly linux: { readonly ram: string; readonly image?: string };
}

const gicv3 = (gicd: string, gicr: string): string => `.gic = { .gicd_addr = ${gicd}, .gicr_addr = ${gicr} }`;
const gicv2 = (gicd: string, gicc: string): string => `.gic = { .gicd_addr = ${gicd}, .gicc_addr = ${gicc} }`;
const PLIC = '.irqc.plic = { .base = 0xC000000 }';

export const DEMO_BOARDS: Readonly<Record<string, DemoBoard>> = {
  'qemu-aarch64-virt': {
    backend: {
      ram: 'RAM_AT(0x80000000, 0x40000000)',
      devs: ['{ .pa = 0xA003000, .va = 0xA003000, .size = 0x1000, IRQS(8, 72, 73, 74, 75, 76, 77, 78, 79) }'],
      irqchip: gicv3('0x8000000', '0x80A0000'),
    },
    freertos: {
      uart: '{ .pa = 0x9000000, .va = 0xFF000000, .size = 0x10000, IRQS(1, 33) }',
      irqchip: gicv3('0xF9010000', '0xF9020000'),
    },
    linux: { ram: 'RAM(0x10000000, 0x40000000)' },
  },
  'qemu-riscv64-virt': {
    riscv: true,
    backend: {
      ram: 'RAM_AT(0x90000000, 0x40000000)',
      image: '0x90200000',
      devs: ['{ .pa = 0x10001000, .va = 0x10001000, .size = 0x8000, IRQS(8, 1, 2, 3, 4, 5, 6, 7, 8) }'],
      irqchip: PLIC,
    },
    freertos: { uart: '{ .pa = 0x10000000, .va = 0xFF000000, .size = 0x1000, IRQS(1, 10) }', irqchip: PLIC },
    linux: { ram: 'RAM(0x90000000, 0x40000000)', image: '0x90200000' },
  },
  zcu104: {
    backend: {
      ram: 'RAM_AT(0x10000000, 0x20000000)',
      devs: ['{ .pa = 0xFF0E0000, .va = 0xFF0E0000, .size = 0x1000, IRQS(2, 95, 96), .id = 0x877 }'],
      irqchip: gicv2('0xF9010000', '0xF9020000'),
    },
    freertos: {
      uart: '{ .pa = 0xFF000000, .va = 0xFF000000, .size = 0x10000, IRQS(1, 53) }',
      irqchip: gicv2('0xF9010000', '0xF9020000'),
    },
    linux: { ram: 'RAM(0x10000000, 0x20000000)' },
  },
  rpi4: {
    backend: {
      ram: 'RAM_AT(0x40000000, 0x40000000)',
      devs: ['{ .pa = 0xFD580000, .va = 0xFD580000, .size = 0x10000, IRQS(2, 189, 190) }'],
      irqchip: gicv2('0xFF841000', '0xFF842000'),
    },
    freertos: {
      uart: '{ .pa = 0xFE215000, .va = 0xFF000000, .size = 0x1000, IRQS(1, 125) }',
      irqchip: gicv2('0xF9010000', '0xF9020000'),
    },
    linux: { ram: 'RAM(0x20000000, 0x40000000)' },
  },
};

const HEAD = `#include <config.h>

#define MB(n) ((size_t)(n) * 1024 * 1024)
#define SHMEM_SIZE MB(16)
#define SHMEM_BASE(key) (0xD0000000UL + (key) * SHMEM_SIZE)
`;

/** Not macros, as a configuration's reader would have to expand lists: these are written out. */
const expanded = (text: string): string =>
  text
    .replace(/RAM_AT\((\w+), (\w+)\)/g, '{ .base = $1, .size = $2, .place_phys = true, .phys = $1 }')
    .replace(/RAM\((\w+), (\w+)\)/g, '{ .base = $1, .size = $2 }')
    .replace(/IRQS\((\d+), ([^)]*)\)/g, '.interrupt_num = $1, .interrupts = (irqid_t[]) { $2 }');

interface DemoVm {
  readonly name: string;
  readonly affinity: string;
  readonly ram: string;
  readonly image: string;
  readonly devs: readonly string[];
  readonly ends: readonly string[];
  readonly irqchip: string;
}

const vm = ({ name, affinity, ram, image, devs, ends, irqchip }: DemoVm): string =>
  expanded(`        {
            .image = { .base_addr = ${image}, .load_addr = VM_IMAGE_OFFSET(${name}_image), .size = VM_IMAGE_SIZE(${name}_image) },
            .entry = ${image},
            .cpu_affinity = ${affinity},
            .platform = {
                .cpu_num = 1,
                .region_num = 1, .regions = (struct vm_mem_region[]) { ${ram} },
                .remio_dev_num = ${ends.length},
                .remio_devs = (struct remio_dev[]) {
                    ${ends.join(',\n                    ')}
                },
                .dev_num = ${devs.length}, .devs = (struct vm_dev_region[]) { ${devs.join(', ')} },
                .arch = { ${irqchip} },
            },
        }`);

const shmem = (key: number): string =>
  `.shmem = { .base = SHMEM_BASE(${key}), .size = SHMEM_SIZE, .shmem_id = ${key} }`;
const backendEnd = (key: number, interrupt: number): string =>
  `{ .bind_key = ${key}, .type = REMIO_DEV_BACKEND, .interrupt = ${interrupt}, ${shmem(key)} }`;
const frontendEnd = (key: number, va: string, interrupt: number): string =>
  `{ .bind_key = ${key}, .type = REMIO_DEV_FRONTEND, .va = ${va}, .size = 0x200, .interrupt = ${interrupt}, ${shmem(key)} }`;

/** The demo's configuration for a board. */
export function demoConfig(board: string): string {
  const found = DEMO_BOARDS[board];
  if (found === undefined) throw new Error(`the demo has no board ${board}`);
  const { backend, freertos, linux, riscv } = found;
  const timer = riscv ? [] : ['{ IRQS(1, 27) }'];
  const base = (ram: string): string => /0x\w+/.exec(ram)?.[0] ?? '';
  const first = riscv ? 36 : 40;
  const vms = [
    vm({
      name: 'linux_backend',
      affinity: '1 << 0',
      ram: backend.ram,
      image: backend.image ?? base(backend.ram),
      devs: [...backend.devs, ...timer],
      ends: [0, 1, 2, 3, 4].map((key) => backendEnd(key, first + key)),
      irqchip: backend.irqchip,
    }),
    vm({
      name: 'freertos',
      affinity: '1 << 1',
      ram: 'RAM(0x0, 0x8000000)',
      image: '0x0',
      devs: [freertos.uart, ...timer],
      ends: [frontendEnd(0, '0xA003E00', 52)],
      irqchip: freertos.irqchip,
    }),
    ...[1, 2].map((n) =>
      vm({
        name: `linux_frontend${n}`,
        affinity: `1 << ${n + 1}`,
        ram: linux.ram,
        image: linux.image ?? base(linux.ram),
        devs: timer,
        ends: [frontendEnd(2 * n - 1, '0xA003E00', 79), frontendEnd(2 * n, '0xA003C00', 78)],
        irqchip: backend.irqchip,
      }),
    ),
  ];
  return `${HEAD}
VM_IMAGE(linux_backend_image, XSTR(IMAGES/linux_backend.bin))
VM_IMAGE(freertos_image, XSTR(IMAGES/freertos.bin))
VM_IMAGE(linux_frontend1_image, XSTR(IMAGES/linux_frontend1.bin))
VM_IMAGE(linux_frontend2_image, XSTR(IMAGES/linux_frontend2.bin))

struct config config = {
    CONFIG_HEADER
    .shmemlist_size = 5,
    .shmemlist = (struct shmem[]) { [0 ... 4] = { .size = SHMEM_SIZE } },
    .vmlist_size = ${vms.length},
    .vmlist = (struct vm_config[]) {
${vms.join(',\n')}
    },
};
`;
}

/** The device models of the demo, one file for each frontend VM. */
export const DEMO_DEVICE_MODELS: readonly string[] = [
  'devices:\n  - { id: 0, type: console, mmio_addr: 0xa003e00, data_plane: virtio }\n',
  ...[1, 2].map(
    (n) => `devices:
  - { id: ${2 * n - 1}, type: net, mmio_addr: 0xa003e00, data_plane: virtio, tap_name: tap${n - 1}, mac_addr: "52:54:00:aa:bb:0${n}" }
  - { id: ${2 * n}, type: block, mmio_addr: 0xa003c00, data_plane: virtio, file_path: /etc/frontend${n}.img, read_only: false, root_device: true, advertise_flush: false }
`,
  ),
];

/** An older tutorial: `.id` instead of `.bind_key`, numbers written out. */
interface Tutorial {
  readonly board: string;
  readonly shmems: readonly number[];
  /** Of the backend and of the frontends: VM, key, window, interrupt, shared memory, its base. */
  readonly ends: readonly (readonly [
    vm: number,
    key: number,
    window: number,
    interrupt: number,
    shmem: number,
    base: number,
  ])[];
  readonly ram: readonly (readonly [base: number, size: number])[];
  readonly irqchip: string;
  /** IPC between the VMs with these numbers, on shared memory 0. */
  readonly ipc?: readonly number[];
}

const GICV3 = gicv3('0x8000000', '0x80A0000');
const ZCU = gicv2('0xF9010000', '0xF9020000');
const MIB16 = 0x100_0000;

export const TUTORIALS: Readonly<Record<string, Tutorial>> = {
  'console for two guests, both with id 0': {
    board: 'qemu-aarch64-virt',
    shmems: [MIB16, MIB16],
    ends: [
      [0, 0, 0, 40, 0, 0x2000_0000],
      [0, 1, 0, 41, 1, 0x2100_0000],
      [1, 0, 0xa00_3e00, 79, 0, 0x2000_0000],
      [2, 0, 0xa00_3e00, 79, 1, 0x2100_0000],
    ],
    ram: [
      [0x8000_0000, 0x4000_0000],
      [0x3000_0000, 0x4000_0000],
      [0x3000_0000, 0x4000_0000],
    ],
    irqchip: GICV3,
  },
  'network and block device in one guest': {
    board: 'qemu-aarch64-virt',
    shmems: [MIB16, MIB16],
    ends: [
      [0, 0, 0, 40, 0, 0x2000_0000],
      [0, 1, 0, 41, 1, 0x2100_0000],
      [1, 0, 0xa00_3e00, 79, 0, 0x2000_0000],
      [1, 1, 0xa00_3c00, 78, 1, 0x2100_0000],
    ],
    ram: [
      [0x8000_0000, 0x8000_0000],
      [0x3000_0000, 0x4000_0000],
    ],
    irqchip: GICV3,
  },
  'file system': {
    board: 'qemu-aarch64-virt',
    shmems: [MIB16],
    ends: [
      [0, 0, 0, 40, 0, 0x1000_0000],
      [1, 0, 0xa00_3e00, 79, 0, 0x1000_0000],
    ],
    ram: [
      [0x8000_0000, 0x4000_0000],
      [0x3000_0000, 0x4000_0000],
    ],
    irqchip: GICV3,
  },
  'network for two guests, and IPC': {
    board: 'zcu102',
    shmems: [0x1_0000, MIB16, MIB16],
    ends: [
      [0, 0, 0, 40, 1, 0x8000_0000],
      [0, 1, 0, 41, 2, 0x8100_0000],
      [1, 0, 0xa00_3e00, 79, 1, 0x8000_0000],
      [2, 1, 0xa00_3e00, 79, 2, 0x8100_0000],
    ],
    ram: [
      [0x2000_0000, 0x2000_0000],
      [0x2000_0000, 0x2000_0000],
      [0x2000_0000, 0x2000_0000],
      [0x0, 0x800_0000],
    ],
    irqchip: ZCU,
    ipc: [0, 3],
  },
  'sockets, over a shared memory that is too small': {
    board: 'zcu102',
    shmems: [0x1_0000],
    ends: [
      [0, 0, 0, 40, 0, 0x8000_0000],
      [1, 0, 0xa00_3e00, 79, 0, 0x8000_0000],
    ],
    ram: [
      [0x2000_0000, 0x2000_0000],
      [0x2000_0000, 0x2000_0000],
    ],
    irqchip: ZCU,
  },
  'a device on RISC-V': {
    board: 'qemu-riscv64-virt',
    shmems: [MIB16],
    ends: [
      [0, 0, 0, 36, 0, 0x7000_0000],
      [1, 0, 0x1000_1000, 37, 0, 0x7000_0000],
    ],
    ram: [
      [0x9000_0000, 0x5000_0000],
      [0x2000_0000, 0x5000_0000],
    ],
    irqchip: PLIC,
  },
};

export function tutorialConfig({ shmems, ends, ram, irqchip, ipc }: Tutorial): string {
  const vms = ram.map(([base, size], id) => {
    const mine = ends.filter(([owner]) => owner === id);
    const remio = mine.map(
      ([, key, window, interrupt, shmemId, shmemBase]) =>
        `{ .id = ${key}, .type = ${window === 0 ? 'REMIO_DEV_BACKEND' : 'REMIO_DEV_FRONTEND'}, ${
          window === 0 ? '' : `.va = ${window}, .size = 0x200, `
        }.interrupt = ${interrupt}, .shmem = { ${shmemBase}, ${MIB16}, ${shmemId} } }`,
    );
    const ipcs = ipc?.includes(id)
      ? `.ipc_num = 1, .ipcs = (struct ipc[]) { { 0x70000000, 0x10000, 0, 1, (irqid_t[]) { 52 } } },`
      : '';
    return `{ .image = { .base_addr = ${base}, .load_addr = VM_IMAGE_OFFSET(vm${id}), .size = VM_IMAGE_SIZE(vm${id}) }, .entry = ${base},
      .cpu_affinity = ${1 << id}, .platform = { .cpu_num = 1,
      .region_num = 1, .regions = (struct vm_mem_region[]) { { ${base}, ${size} } }, ${ipcs}
      .remio_dev_num = ${remio.length}, .remio_devs = (struct remio_dev[]) { ${remio.join(',\n        ')} },
      .arch = { ${irqchip} } } }`;
  });
  return `#include <config.h>
${ram.map((_, id) => `VM_IMAGE(vm${id}, "vm${id}.bin");`).join('\n')}
static struct vm_config vms[] = {
    ${vms.join(',\n    ')}
};
struct config config = {
    .shmemlist_size = ${shmems.length}, .shmemlist = (struct shmem[]) { ${shmems.map((size) => `{ .size = ${size} }`).join(', ')} },
    .vmlist_size = ${ram.length}, .vmlist = vms,
};
`;
}
