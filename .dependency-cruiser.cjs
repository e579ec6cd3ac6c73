/** One rule per sentence of docs/architecture.md, "Which way dependencies point". */
const adapters = '^packages/(database|queues|feeds|blobstore|containers|archives|pki|secrets|client|embedded|egress)/'
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'apps-are-leaves',
      severity: 'error',
      from: { path: '^(apps|packages)/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^$1/$2/' },
    },
    {
      name: 'domain-is-pure',
      severity: 'error',
      from: { path: '^packages/domain/src/', pathNot: '[.]test[.]ts$' },
      to: { pathNot: '^packages/domain/src/' },
    },
    {
      name: 'contracts-know-domain-and-zod',
      severity: 'error',
      from: { path: '^packages/contracts/src/', pathNot: '[.]test[.]ts$' },
      to: { pathNot: '^packages/(contracts|domain)/src/|node_modules/zod/' },
    },
    {
      name: 'adapters-do-not-meet',
      severity: 'error',
      from: {
        path: '^packages/(database|queues|feeds|blobstore|containers|archives|pki|secrets|client|embedded|egress)/src/',
        pathNot: '[.]test[.]ts$',
      },
      to: { path: adapters, pathNot: '^packages/$1/' },
    },
    { name: 'prisma-stays-home', severity: 'error', from: { pathNot: '^packages/database/' }, to: { path: '@prisma/' } },
    {
      name: 'dockerode-stays-home',
      severity: 'error',
      from: { pathNot: '^packages/containers/' },
      to: { path: 'node_modules/dockerode/' },
    },
    {
      name: 'bullmq-stays-home',
      severity: 'error',
      from: { pathNot: '^packages/queues/' },
      to: { path: 'node_modules/(bullmq|ioredis)/' },
    },
    {
      name: 'cli-uses-the-client-alone',
      severity: 'error',
      from: { path: '^apps/cli/src/', pathNot: '[.]test[.]ts$' },
      to: { path: '^packages/', pathNot: '^packages/(client|contracts)/' },
    },
    {
      name: 'tests-only',
      severity: 'error',
      from: { pathNot: '[.]test[.]ts$|^packages/testing/|[.]fixture[.]ts$' },
      to: { path: '[.]test[.]ts$|^packages/testing/|[.]fixture[.]ts$' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/|/generated/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['@bloomery/source', 'import', 'node', 'default'] },
  },
}
