import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { remio, root } from '../integration/run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-graph-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const topology = join(root, 'deploy', 'topologies', 'demo-aarch64.yaml');

describe('remio graph', () => {
  it('draws a topology whose images are not there: to a file, to standard output, as Mermaid', async () => {
    const file = join(scratch, 'demo.svg');
    expect(await remio('graph', topology, '-o', file)).toEqual({ code: 0, stdout: '', stderr: '' });
    const kept = readFileSync(join(root, 'docs', 'pictures', 'demo-aarch64.svg'), 'utf8');
    expect(readFileSync(file, 'utf8')).toBe(kept);
    expect((await remio('graph', topology)).stdout).toBe(kept.trimEnd());
    const mermaid = await remio('graph', topology, '--mermaid');
    expect(mermaid).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^flowchart LR\n/) });
  });

  it('tells what is wrong with a topology, or a place that cannot be written', async () => {
    const wrong = join(scratch, 'wrong.yaml');
    writeFileSync(wrong, 'board: zcu103\nvms: {}\n');
    expect(await remio('graph', wrong)).toMatchObject({ code: 2, stderr: expect.stringContaining('error[board]') });
    expect(await remio('graph', join(scratch, 'none.yaml'))).toMatchObject({ code: 2 });
    const nowhere = await remio('graph', topology, '-o', join(scratch, 'none', 'demo.svg'));
    expect(nowhere).toMatchObject({ code: 3, stderr: expect.stringContaining('cannot be written') });
  });
});
