import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from '../integration/run-remio.js';

describe('a program and a device model of a user, outside the workspace', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'remio-user-'));
    cpSync(join(root, 'test', 'fixtures', 'modules'), directory, { recursive: true });
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each(['processes', 'inproc'])('work together on engine %s', async (engine) => {
    const ended = await remio('up', join(directory, 'counter.yaml'), '--engine', engine, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(reportsOf(ended, 'bytes')).toMatchObject([{ id: 4, bytes: [250, 251, 252, 253, 254, 255, 0, 1, 2, 3] }]);
  });
});
