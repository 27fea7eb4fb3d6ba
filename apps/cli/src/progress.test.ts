import { describe, expect, it } from 'vitest';
import { Progress } from './progress.js';

/** What is drawn when 1 and then 2 of 4 are done, and the bar is taken away. */
function drawn({ isTTY = true, json = false, env = {}, ms = 1000 } = {}): string {
  let text = '';
  let time = 0;
  const stream = { isTTY, columns: 80, write: (more: string) => (text += more) };
  const progress = new Progress(4, { json, stream, env, now: () => time });
  progress.at(1, 'first');
  time += ms;
  progress.at(2, 'second');
  progress.clear();
  return text;
}

describe('a progress bar', () => {
  it('shows how much is done, and leaves nothing behind', () => {
    const text = drawn({ env: { NO_COLOR: '1' } });
    expect(text).toContain('\r[======                  ] 1/4 first');
    expect(text).toContain('\r[============            ] 2/4 second');
    expect(text.endsWith(`\r${' '.repeat(26 + ' 2/4 second'.length)}\r`)).toBe(true);
  });

  it('has colour unless NO_COLOR is set', () => {
    expect(drawn()).toContain('\u001b[32m');
    expect(drawn({ env: { NO_COLOR: '1' } })).not.toContain('\u001b');
  });

  it('is drawn on a terminal only, and never with --json', () => {
    expect(drawn({ isTTY: false })).toBe('');
    expect(drawn({ json: true })).toBe('');
    expect(drawn({ env: { TERM: 'dumb' } })).toBe('');
  });

  it('is not drawn more often than anybody can see', () => {
    expect(drawn({ ms: 1 })).not.toContain('second');
  });
});
