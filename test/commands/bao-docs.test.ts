import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXPORT_RULES } from '@remio/bao';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run, skipsWithout } from '../integration/programs.js';
import { remio, root } from '../integration/run-remio.js';

const page = readFileSync(join(root, 'docs', 'bao.md'), 'utf8');
const scratch = mkdtempSync(join(tmpdir(), 'remio-bao-docs-'));
const disk = join(scratch, 'disk.img');
beforeAll(() => {
  writeFileSync(disk, new Uint8Array(65_536));
  symlinkSync(join(root, 'deploy'), join(scratch, 'deploy'));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const blocks = [...page.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, commands = '']) => commands);
const noDtc = skipsWithout('the commands of docs/bao.md', 'dtc', 'bash');

describe.skipIf(noDtc)('docs/bao.md', () => {
  it('has commands that do what they say', async () => {
    expect(blocks.length).toBeGreaterThan(2);
    for (const commands of blocks) {
      const own = commands.replaceAll('npm run remio --', `node ${join(root, 'apps', 'cli', 'dist', 'main.js')}`);
      const { code, stderr } = await run('bash', '-c', `set -e; cd ${scratch}; ${own}`);
      expect({ commands, code, stderr: code === 0 ? '' : stderr }).toEqual({ commands, code: 0, stderr: '' });
    }
    const digests = await Promise.all(
      ['again.yaml', 'deploy/topologies/demo-aarch64.yaml'].map((file) =>
        remio('digest', join(scratch, file), '--image', `disk0=${disk}`, '--image', `disk1=${disk}`),
      ),
    );
    expect(digests[0]).toMatchObject({ code: 0 });
    expect(digests[0]?.stdout).toBe(digests[1]?.stdout);
  });

  it('has a row for every rule of the export', () => {
    for (const [rule, holds] of Object.entries(EXPORT_RULES)) expect(page).toContain(`| \`${rule}\` | ${holds} |`);
  });
});
