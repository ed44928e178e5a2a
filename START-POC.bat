@echo off
rem Starts the cluster: finds Python 3.11 or later and hands over to cluster\bootstrap.py.
rem All words go there; START-POC.bat --help explains them.
setlocal
set "CHECK=import sys; sys.exit(sys.version_info < (3, 11))"

rem Each candidate is run: Windows has a "python" that only opens its Store.
set "PYTHON=py -3"
%PYTHON% -c "%CHECK%" >nul 2>nul
if not errorlevel 1 goto found
set "PYTHON=python"
%PYTHON% -c "%CHECK%" >nul 2>nul
if not errorlevel 1 goto found

echo Python 3.11 or later is needed and was not found. Install it, then start again:
echo     winget install Python.Python.3.13
echo     or https://www.python.org/downloads/
pause
exit /b 1

:found
%PYTHON% "%~dp0cluster\bootstrap.py" %*
set "CODE=%ERRORLEVEL%"
if not "%CODE%"=="0" pause
exit /b %CODE%
