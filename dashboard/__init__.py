"""A page to watch jobs, look at their rows, correct labels and steer versions, in a browser.

Pages are rendered here, on the server, with Starlette and Jinja2, and come with a few lines of script: that
needs no build of a front end, fetches nothing from outside, and lets each page be read without the
script. (A framework that draws its pages in the browser, such as Streamlit or NiceGUI, would take fewer
lines for the charts, and more for keys, contrast, tokens and a table of a million rows.)
"""
