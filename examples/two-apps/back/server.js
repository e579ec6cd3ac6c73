const { createServer } = require('node:http')

const port = Number(process.env.PORT || 8080)
createServer((request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ app: 'back', greeting: process.env.GREETING, index: process.env.CF_INSTANCE_INDEX }))
}).listen(port, () => console.log(`back listening on ${port}`))
