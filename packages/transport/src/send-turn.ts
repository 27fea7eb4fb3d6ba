// Each mention of `process` runs an accessor: the hot path remembers what it needs of it.
const { nextTick } = process;

/** Microtasks for which a frame's answer waits for programs: where they take longer, it waits until none is left. */
const ROUNDS_MAX = 8;

/**
 * When a process sends what its vCPUs have to say: once for all that travels together. Programs go on in microtasks, so
 * what they cause is complete when none is left. Node tells of that with its next tick, which costs as much as to encode a
 * frame; whoever knows that nothing goes on sends at once.
 */
export class SendTurn {
  readonly #goesOn: () => boolean;
  readonly #send: () => void;
  /** It is seen to that something is sent. */
  #due = false;
  /** Whether it was before a frame was taken. */
  #before = false;
  /** Microtasks for which an answer has waited. */
  #rounds = 0;

  /**
   * @param goesOn whether what a frame caused goes on in microtasks; true where nobody knows
   * @param send sends all that waits
   */
  constructor(goesOn: () => boolean, send: () => void) {
    this.#goesOn = goesOn;
    this.#send = send;
  }

  /** Sends as soon as no microtask is left. */
  soon(): void {
    if (this.#due) return;
    this.#due = true;
    nextTick(this.#end);
  }

  /** A frame is being taken: whatever wants to be sent meanwhile is sent with its {@link answer}. */
  take(): void {
    this.#before = this.#due;
    this.#due = true;
  }

  /** A frame was taken: sends as soon as nothing goes on. */
  answer(): void {
    // Where something was to be sent already, the tick that is on its way is soon enough.
    if (this.#before) return;
    this.#rounds = 0;
    this.#look();
  }

  readonly #look = (): void => {
    if (!this.#goesOn()) this.#end();
    else if (this.#rounds === ROUNDS_MAX) nextTick(this.#end);
    else {
      this.#rounds += 1;
      queueMicrotask(this.#look);
    }
  };

  readonly #end = (): void => {
    this.#due = false;
    this.#send();
  };
}
