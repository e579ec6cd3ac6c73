// Answers with what the platform tells an instance about itself.
const { createServer } = require('node:http')

const port = Number(process.env.PORT || 8080)
const application = JSON.parse(process.env.VCAP_APPLICATION || '{}')

const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://app').pathname
  console.log(`${request.method} ${path}`)
  if (path === '/crash') {
    response.end('bye\n')
    setTimeout(() => process.exit(1), 100)
    return
  }
  if (path === '/instance') {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ index: process.env.CF_INSTANCE_INDEX, guid: process.env.CF_INSTANCE_GUID, name: application.name }))
    return
  }
  response.end(`Hello from ${application.name || 'hello-node'}, instance ${process.env.CF_INSTANCE_INDEX || 0}, Node ${process.version}\n`)
})
server.listen(port, () => console.log(`listening on ${port}`))

// Answers what is under way, then ends; the platform waits ten seconds for that.
process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
