import type { Flags } from './command-line.js'
import { verb, type Verb } from './verb.js'

const org = {
  org: { kind: 'text', short: 'o', long: 'org', value: 'ORG', summary: 'its org; default is the targeted one' },
} as const satisfies Flags

/** The verbs about spaces themselves. */
export const SPACE_VERBS: readonly Verb[] = [
  verb({
    name: 'spaces',
    group: 'Spaces',
    summary: 'List the spaces of the org',
    run: async (context) => (await import('./commands/spaces.js')).listSpaces(context),
  }),
  verb({
    name: 'create-space',
    alias: 'csp',
    group: 'Spaces',
    summary: 'Make a space, with yourself as manager and developer',
    operands: ['SPACE'],
    flags: org,
    run: async (context, [name], flags) => (await import('./commands/spaces.js')).createSpace(context, name, flags),
  }),
  verb({
    name: 'delete-space',
    group: 'Spaces',
    summary: 'Delete a space with all that is in it',
    operands: ['SPACE'],
    flags: { ...org, force: { kind: 'switch', short: 'f', summary: 'without asking' } },
    run: async (context, [name], flags) => (await import('./commands/spaces.js')).deleteSpace(context, name, flags),
  }),
]
