import { type BindKey, U64_MAX, vmId } from '@remio/base';
import { NO_SHMEM } from './state.js';
import type { ConfigEventCode, Profile, RemioConfig, RemioDevConfig } from './types.js';

/** A device as the walk over the configuration finds it. */
export interface PairedDevice {
  readonly key: BindKey;
  backend: PairedEnd | undefined;
  frontend: PairedEnd | undefined;
}

export interface PairedEnd {
  readonly vm: ReturnType<typeof vmId>;
  readonly dm: number;
  readonly end: RemioDevConfig;
}

export type Pairing =
  | { readonly ok: true; readonly devices: readonly PairedDevice[]; readonly ends: readonly (readonly number[])[] }
  | { readonly ok: false; readonly code: ConfigEventCode };

/** The reference's mark for a side that has no end yet. */
const NO_KEY = U64_MAX;

/**
 * Pairs the ends of a configuration by bind key, as the reference's `remio_init` does: the first problem in the order
 * of its walk decides. `hardened` also refuses what the reference's totals let through: a key with one end only.
 */
export function pairEnds(config: RemioConfig, profile: Profile): Pairing {
  const all = config.vms.flatMap((vm) => vm.devices);
  const backends = all.filter((end) => end.type === 'backend').length;
  const frontends = all.filter((end) => end.type === 'frontend').length;
  const capacity = Math.max(1, backends);
  const devices: PairedDevice[] = [];
  const ends: number[][] = config.vms.map(() => []);
  // The mark for "none" is a key like any other to a comparison: only the reference is fooled by it.
  const none = profile === 'reference' ? NO_KEY : undefined;
  const keyOf = (side: PairedEnd | undefined): bigint | undefined => (side === undefined ? none : side.end.bindKey);

  for (const [vm, { devices: list }] of config.vms.entries()) {
    for (const [dm, end] of list.entries()) {
      let index = -1;
      for (const [candidate, device] of devices.entries()) {
        const same = end.type === 'backend' ? device.backend : device.frontend;
        const opposite = end.type === 'backend' ? device.frontend : device.backend;
        if (typeof end.type === 'number') break;
        if (keyOf(same) === end.bindKey) return { ok: false, code: 'config-duplicate-endpoint' };
        if (keyOf(opposite) === end.bindKey) {
          index = candidate;
          break;
        }
      }
      if (index < 0) {
        if (devices.length >= capacity) return { ok: false, code: 'config-unpaired-device' };
        index = devices.push({ key: end.bindKey, backend: undefined, frontend: undefined }) - 1;
      }
      if (typeof end.type === 'number') return { ok: false, code: 'config-unknown-type' };
      const device = devices[index];
      if (device !== undefined) device[end.type] = { vm: vmId(vm), dm, end };
      ends[vm]?.push(index);
    }
  }
  if (backends !== frontends) return { ok: false, code: 'config-unbalanced' };
  for (const { backend, frontend } of devices) {
    if (profile === 'hardened' && (backend === undefined || frontend === undefined)) {
      return { ok: false, code: 'config-unpaired-device' };
    }
    const a = backend?.end.shmem ?? NO_SHMEM;
    const b = frontend?.end.shmem ?? NO_SHMEM;
    if (a.base !== b.base || a.size !== b.size || a.id !== b.id) return { ok: false, code: 'config-shmem-mismatch' };
  }
  return { ok: true, devices, ends };
}
