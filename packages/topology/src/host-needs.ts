import { isBackend } from './host-checks.js';
import { linesOf } from './lines.js';
import type { RemioDev, Vm } from './types.js';

/** Something of the host that the process of a VM uses. Paths are absolute. */
export type HostNeed =
  | { readonly kind: 'image'; readonly device: string; readonly path: string; readonly readOnly: boolean }
  | { readonly kind: 'directory'; readonly device: string; readonly path: string; readonly readOnly: boolean }
  /** A socket, a link or a file that the process makes, or that others make for it. */
  | { readonly kind: 'path'; readonly device: string; readonly path: string }
  | { readonly kind: 'module'; readonly path: string }
  | { readonly kind: 'tap'; readonly device: string; readonly name: string }
  | { readonly kind: 'port'; readonly device: string; readonly host: string; readonly port: number }
  | { readonly kind: 'stdio'; readonly device: string };

/** What its process is for: a VM that serves a device is a backend. */
export const kindOf = (vm: Vm): 'frontend' | 'backend' => (isBackend(vm) ? 'backend' : 'frontend');

/**
 * What a VM uses of its host. One that uses nothing may run on any host, so any process may claim it; all others are run
 * where what they need is.
 */
export function hostNeeds(vm: Vm): readonly HostNeed[] {
  const program: readonly HostNeed[] = vm.program.kind === 'module' ? [{ kind: 'module', path: vm.program.name }] : [];
  const lines = linesOf({ vms: [vm] }).flatMap(({ end, line }): readonly HostNeed[] => {
    const device = end.name;
    switch (line.kind) {
      case 'stdio':
        return [{ kind: 'stdio', device }];
      case 'pty':
        return [{ kind: 'path', device, path: line.alias }];
      case 'listen':
      case 'connect':
        return [{ kind: 'path', device, path: line.path }];
      case 'file':
        return [line.input, line.output].flatMap((path) =>
          path === undefined ? [] : [{ kind: 'path', device, path }],
        );
    }
  });
  return [...program, ...vm.remioDevs.flatMap((end) => [...deviceNeeds(end), ...driverNeeds(end)]), ...lines];
}

function deviceNeeds({ name: device, device: given }: RemioDev): readonly HostNeed[] {
  if (given === undefined) return [];
  if (given.kind === 'module') return [{ kind: 'module', path: given.name }];
  const { choice } = given;
  switch (choice.type) {
    case 'block': {
      const { image: path, readOnly } = choice.options;
      return [{ kind: 'image', device, path, readOnly }];
    }
    case 'fs': {
      const { directory: path, readOnly } = choice.options;
      return [{ kind: 'directory', device, path, readOnly }];
    }
    case 'net': {
      const { link, capture } = choice.options;
      const captures = [capture, link.kind === 'switch' ? link.capture : undefined];
      return [
        ...(link.kind === 'tap' ? [{ kind: 'tap', device, name: link.name } as const] : []),
        ...captures.flatMap((path) => (path === undefined ? [] : [{ kind: 'path', device, path } as const])),
      ];
    }
    default:
      return [];
  }
}

function driverNeeds({ name: device, driver }: RemioDev): readonly HostNeed[] {
  switch (driver?.type) {
    case 'tap':
      return [{ kind: 'tap', device, name: driver.options.name }];
    case 'nbd': {
      const { tcp } = driver.options;
      return tcp === undefined ? [] : [{ kind: 'port', device, ...tcp }];
    }
    case 'vsock':
      return driver.options.accept.map(({ connect: path }) => ({ kind: 'path', device, path }));
    default:
      return [];
  }
}
