// What a browser finds on a page at three widths: axe-core's violations, sideways scrolling, requests. JSON on stdout.
// Usage: NODE_PATH=<node_modules> node report_page.cjs CHROMIUM FILE.html
const { chromium } = require('playwright-core');
const { pathToFileURL } = require('node:url');

(async () => {
  const [executablePath, page_file] = process.argv.slice(2);
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
  const found = [];
  for (const width of [400, 800, 1400]) {
    const page = await browser.newPage({ viewport: { width, height: 900 } });
    const requests = [];
    page.on('request', (request) => requests.push(request.url().slice(0, 80)));
    await page.goto(pathToFileURL(page_file).href);
    await page.evaluate(() => document.querySelectorAll('details').forEach((each) => { each.open = true; }));
    await page.addScriptTag({ path: require.resolve('axe-core/axe.min.js') });
    const result = await page.evaluate(() => window.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    const violations = result.violations.map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.target.join(' ') + ' ' + (node.any[0] ? node.any[0].message : '')).join(' | ')}`);
    const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    found.push({ width, violations, passes: result.passes.length, incomplete: result.incomplete.map((each) => `${each.id} ${each.nodes.length}`), sideways, requests });
    await page.close();
  }
  await browser.close();
  console.log(JSON.stringify(found));
})();
