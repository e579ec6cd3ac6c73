import { verb, type Verb } from './verb.js'

/** What Cloud Foundry's client has no verb for: why builds go as they do, what droplets are made of, and the operator's part of it. */
export const STAGING_VERBS: readonly Verb[] = [
  verb({
    name: 'explain',
    group: 'Advanced',
    summary: 'Explain why something is as it is: a build, by its guid or by the app whose newest it is; a route, by HOST[/PATH]',
    operands: ['KIND', 'NAME_OR_GUID'],
    flags: { json: { kind: 'switch', long: 'json', summary: 'print the answer as the API gives it' } },
    examples: ['bloom explain route shop.apps.example.com/cart', 'bloom explain build my-app', 'bloom explain build 7f5a2d8e-…'],
    run: async (context, [kind, name], flags) =>
      (await import('./commands/explanations.js')).explainCommand(context, kind, name, flags),
  }),
  verb({
    name: 'cancel-build',
    group: 'Advanced',
    summary: "End an app's build under way",
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/explanations.js')).cancelBuild(context, name),
  }),
  verb({
    name: 'bom',
    group: 'Advanced',
    summary: "Print the bill of materials (CycloneDX) of an app's current droplet",
    operands: ['APP_NAME'],
    run: async (context, [name]) => (await import('./commands/components.js')).billOfMaterials(context, name),
  }),
  verb({
    name: 'components',
    group: 'Advanced',
    summary: 'List every app whose droplet holds a component',
    operands: ['COMPONENT'],
    flags: {
      version: { kind: 'text', long: 'version', value: 'RANGE', summary: "versions, e.g. '<2.17.1', '^4.0.0' or '[1.0,2.0)'" },
      all: { kind: 'switch', long: 'all', summary: 'also in droplets that no app runs or would start with' },
    },
    examples: ["bloom components log4j-core --version '<2.17.1'"],
    run: async (context, [name], flags) => (await import('./commands/components.js')).listComponents(context, name, flags),
  }),
  verb({
    name: 'gc',
    group: 'Advanced',
    summary: 'Delete stored bits that nothing needs any more; for operators',
    flags: { dryRun: { kind: 'switch', long: 'dry-run', summary: 'list them with size and reason, and delete nothing' } },
    examples: ['bloom gc --dry-run'],
    run: async (context, _operands, flags) => (await import('./commands/garbage.js')).collectGarbage(context, flags),
  }),
  verb({
    name: 'stack',
    group: 'Advanced',
    summary: "Bring a stack's new image to its apps: 'stack rollout' restarts them one by one, and stops on failures",
    operands: ['ACTION', '[STACK]'],
    flags: {
      dryRun: { kind: 'switch', long: 'dry-run', summary: 'list the apps, and restart none' },
      maxFailures: {
        kind: 'count',
        long: 'max-failures',
        value: 'N',
        summary: 'go on until so many apps have failed; default 0',
      },
    },
    examples: ['bloom stack rollout cflinuxfs4 --dry-run', 'bloom stack rollout'],
    run: async (context, [action, stack], flags) =>
      (await import('./commands/stack-rollout.js')).stackCommand(context, action, stack, flags),
  }),
]
