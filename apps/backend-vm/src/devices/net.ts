import { CAPTURED_INBOUND, CAPTURED_OUTBOUND, type FramePort, LearningSwitch, WitnessedPort } from '@remio/ethernet';
import { ProgramError } from '@remio/guest';
import { CaptureFile, TapPort } from '@remio/host-io';
import type { NetModelOptions } from '@remio/topology';
import { NetDevice } from '@remio/virtio-device';

/** The network of one backend VM: its switches, and captures by path. */
export class BackendNetwork {
  readonly #switches = new Map<string, LearningSwitch>();
  readonly #captures = new Map<string, CaptureFile>();
  /** Devices that are not closed. */
  #open = 0;

  /**
   * A network device at its link.
   * @throws Error that says what is wrong with the link or a capture
   */
  device(name: string, options: NetModelOptions): NetDevice {
    const port = this.#port(name, options);
    this.#open += 1;
    const { capture: path } = options;
    if (path === undefined) return new LinkedDevice(port, options, () => this.#left());
    const capture = this.#capture(name, path);
    const witnessed = new WitnessedPort(port, (sent, frame) =>
      // As the link sees it: what the device sends comes in.
      capture.frame(name, frame, sent ? CAPTURED_INBOUND : CAPTURED_OUTBOUND),
    );
    return new LinkedDevice(witnessed, options, () => this.#left());
  }

  /** A device was closed; captures end with the last one. */
  #left(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    for (const capture of this.#captures.values()) capture.close();
    this.#captures.clear();
  }

  #port(name: string, { link, queuePairs }: NetModelOptions): FramePort {
    switch (link.kind) {
      case 'tap': {
        const tap = TapPort.open(link.name, queuePairs);
        if (!tap.ok) throw new ProgramError(`device ${name}: ${tap.error}`);
        return tap.value;
      }
      case 'switch': {
        const lan = this.#switch(link.name);
        if (link.capture !== undefined) {
          const capture = this.#capture(name, link.capture);
          lan.witness = (port, frame) => capture.frame(port, frame, CAPTURED_INBOUND);
        }
        return lan.port(name);
      }
      case 'none':
      case 'both':
        throw new ProgramError(`device ${name} is at no link, or at two`);
    }
  }

  #switch(name: string): LearningSwitch {
    const known = this.#switches.get(name);
    if (known !== undefined) return known;
    const lan = new LearningSwitch();
    this.#switches.set(name, lan);
    return lan;
  }

  #capture(device: string, path: string): CaptureFile {
    const known = this.#captures.get(path);
    if (known !== undefined) return known;
    const opened = CaptureFile.open(path);
    if (!opened.ok) throw new ProgramError(`device ${device}: ${opened.error}`);
    this.#captures.set(path, opened.value);
    return opened.value;
  }
}

/** A network device that says when it was closed. */
class LinkedDevice extends NetDevice {
  readonly #closed: () => void;

  constructor(port: FramePort, options: NetModelOptions, closed: () => void) {
    super(port, options);
    this.#closed = closed;
  }

  override async close(): Promise<void> {
    await super.close();
    this.#closed();
  }
}
