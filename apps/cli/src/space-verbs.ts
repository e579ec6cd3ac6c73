import { force, itsOrg } from './shared-flags.js'
import { verb, type Verb } from './verb.js'

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
    flags: itsOrg,
    run: async (context, [name], flags) => (await import('./commands/spaces.js')).createSpace(context, name, flags),
  }),
  verb({
    name: 'delete-space',
    group: 'Spaces',
    summary: 'Delete a space with all that is in it',
    operands: ['SPACE'],
    flags: { ...itsOrg, ...force },
    run: async (context, [name], flags) => (await import('./commands/spaces.js')).deleteSpace(context, name, flags),
  }),
]
