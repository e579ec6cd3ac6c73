import type { MachineLeftover } from '@bloomery/contracts'

/** Something of the stager's own on this machine that nothing needs any more. */
export interface Leftover extends Omit<MachineLeftover, 'bytes'> {
  /** Where it lies, for whoever asks how large it is; a container's size is not asked for. */
  readonly folder?: string
  /** May be called when it is gone already, or needed again: then it does nothing. */
  readonly remove: () => Promise<void>
}
