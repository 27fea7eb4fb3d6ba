import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { root } from './run-remio.js';

/** The demonstration's platform under load, in files of a test's own. */
export interface VerifiedPlatform {
  readonly file: string;
  /** `NAME=PATH`, both disks. */
  readonly images: readonly string[];
}

export interface Load {
  /** Writes of a round. */
  readonly writes: number;
  /** Between two rounds. */
  readonly pause: string;
  /** Bytes of each disk. */
  readonly disk: number;
  /** Changes the topology. */
  readonly edit?: (text: string) => string;
}

/** The demonstration's platform with guests that verify their disks again and again, and disks of its own. */
export function verifiedPlatform(folder: string, name: string, arch: string, load: Load): VerifiedPlatform {
  const { writes, pause, disk, edit = (text) => text } = load;
  const text = readFileSync(join(root, 'deploy', 'topologies', `demo-${arch}.yaml`), 'utf8');
  const file = join(folder, `${name}.yaml`);
  const driver = `driver: { type: blk-verify, writes: ${writes} }`;
  writeFileSync(
    file,
    edit(
      text
        .replaceAll(/^ +program: \{ builtin: blk-verify.*\n/gm, '')
        .replaceAll(/^( +)deadline: 30s$/gm, `$1deadline: 30s\n$1${driver}\n$1repeat: { pause: ${pause} }`),
    ),
  );
  const images = ['disk0', 'disk1'].map((device) => {
    const path = join(folder, `${name}-${device}.img`);
    const bytes = new Uint8Array(disk);
    new Prng(7).fill(bytes);
    writeFileSync(path, bytes);
    return `${device}=${path}`;
  });
  return { file, images };
}
