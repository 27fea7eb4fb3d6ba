import type { CaseId, DeviceSurvey, Layout, Outcome } from '@remio/hostile';

/** What the process that tries cases is asked for: one thing at a time. */
export interface HostileJob {
  /** `survey`: what a device is; `device`, `driver`: a case of catalogue A or B. */
  readonly kind: 'survey' | 'device' | 'driver';
  /** Position of the device among those of the topology. */
  readonly place: number;
  readonly layout: Layout;
  /** Which case; nothing for a survey. */
  readonly id?: CaseId;
  readonly title?: string;
  /** Milliseconds. */
  readonly bound: number;
}

/** Its answer. */
export type HostileAnswer =
  | { readonly kind: 'outcome'; readonly outcome: Outcome }
  /** `offered` has 64 bits: hexadecimal. */
  | { readonly kind: 'survey'; readonly survey: Omit<DeviceSurvey, 'offered'> & { readonly offered: string } }
  /** It cannot be done: what is missing. */
  | { readonly kind: 'impossible'; readonly reason: string };

/** A disk image or a directory of a device, and where its copy is for the cases. */
export interface HostileCopy {
  /** Of the device. */
  readonly name: string;
  readonly from: string;
  readonly to: string;
}
