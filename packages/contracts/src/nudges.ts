/**
 * Hints over Redis pub/sub, channel `bloomery:nudge`. They only say "look again" and may all be lost.
 * `scheduler`: desired state changed. `stager`: a build waits. `changed`: a resource's visible state changed (long polls wake up).
 */
export type Nudge =
  | { readonly topic: 'scheduler' }
  | { readonly topic: 'stager' }
  | { readonly topic: 'jobs' }
  | { readonly topic: 'changed'; readonly kind: 'job' | 'build' | 'deployment' | 'process' | 'package'; readonly guid: string }
