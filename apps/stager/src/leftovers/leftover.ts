/** Something of the stager's own on this machine that nothing needs any more. */
export interface Leftover {
  /** For people: below the stager's folder, or a container's name. */
  readonly path: string
  readonly kind: 'buildpack' | 'runtime' | 'cache' | 'staging' | 'container'
  /** For people. */
  readonly reason: string
  /** Where it lies, for whoever asks how large it is; a container's size is not asked for. */
  readonly folder?: string
  /** May be called when it is gone already, or needed again: then it does nothing. */
  readonly remove: () => Promise<void>
}
